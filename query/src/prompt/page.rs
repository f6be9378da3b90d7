//! The page that a prompt is written on: sections in a fixed order, entries as long as there is room.

use std::collections::BTreeMap;
use std::fmt::Write;

use tracerag_schemas::bundle::Bundle;

use super::evidence::trace_lines;
use super::{CodeSlice, Prompt, TooFewTokens};
use crate::tokens;
use crate::untrusted::{clean, fenced};

/// Tokens of a heading and of a fence beyond those of what stands below and inside.
const FRAME: usize = 8;

/// Where an entry stands. The order is that of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Repositories,
    Failures,
    Path,
    Flags,
    Builds,
    Logs,
    Payloads,
    Heaps,
    Metrics,
    OtherSpans,
    Links,
    Similar,
    Code,
    CodeNotes,
    Fixes,
}

impl Section {
    /// What stands between the fences of the evidence.
    const EVIDENCE: [Section; 11] = [
        Section::Failures,
        Section::Path,
        Section::Flags,
        Section::Builds,
        Section::Logs,
        Section::Payloads,
        Section::Heaps,
        Section::Metrics,
        Section::OtherSpans,
        Section::Links,
        Section::Similar,
    ];

    fn title(self) -> &'static str {
        match self {
            Section::Repositories => "repositories",
            Section::Failures => "failures",
            Section::Path => "failing path",
            Section::Flags => "flags and configuration",
            Section::Builds => "builds",
            Section::Logs => "logs",
            Section::Payloads => "payloads",
            Section::Heaps => "heap",
            Section::Metrics => "metrics",
            Section::OtherSpans => "other spans",
            Section::Links => "linked traces",
            Section::Similar => "similar incidents",
            Section::Code => "pieces of code",
            Section::CodeNotes => "notes on code",
            Section::Fixes => "known fixes",
        }
    }
}

/// An entry of a section.
#[derive(Debug, Clone)]
pub(super) struct Item {
    section: Section,
    /// How soon it is taken: the least first.
    rank: u32,
    /// What may be written, the longest first. Never empty.
    forms: Vec<String>,
}

impl Item {
    pub(super) fn line(section: Section, rank: u32, text: &str) -> Self {
        Self { section, rank, forms: vec![text.to_owned()] }
    }

    /// A piece of source, which has a fence of its own.
    pub(super) fn slice(rank: u32, slice: &CodeSlice) -> Self {
        let form = |text: &String| format!("{}\n\n{}", clean(&slice.title), fenced(slice.language, text));
        let forms = std::iter::once(&slice.text).chain(&slice.shorter).map(form).collect();
        Self { section: Section::Code, rank, forms }
    }
}

/// Tokens of a text and of what stands round it; `None`: there is no room for it. Most entries of a large bundle have none,
/// and to encode them would take most of the time.
fn cost(text: &str, frame: usize, room: usize) -> Option<usize> {
    let is_possible = tokens::at_least(text) + frame <= room;
    is_possible.then(|| tokens::count(text) + frame).filter(|cost| *cost <= room)
}

/// All that a prompt may hold.
pub(super) struct Page<'a> {
    bundle: &'a Bundle,
    items: Vec<Item>,
}

/// By item, which of its forms is written.
type Taken = Vec<Option<usize>>;

impl<'a> Page<'a> {
    pub(super) fn new(bundle: &'a Bundle, items: Vec<Item>) -> Self {
        Self { bundle, items }
    }

    /// The page with as many entries as `most` tokens have room for, by their ranks. One that has no room does not keep
    /// a smaller one behind it out.
    pub(super) fn fill(&self, most: usize) -> Result<Prompt, TooFewTokens> {
        let mut taken: Taken = vec![None; self.items.len()];
        // Without entries everything is counted as left out, which takes more room than any other count.
        let empty = self.write(&taken);
        let mut used = tokens::count(&empty);
        if used > most {
            return Err(TooFewTokens { most, needed: used });
        }
        let mut by_rank: Vec<usize> = (0..self.items.len()).collect();
        by_rank.sort_by_key(|index| self.items[*index].rank);
        let mut begun: Vec<Section> = Vec::new();
        let mut order = Vec::new();
        for index in by_rank {
            let item = &self.items[index];
            let frame = if begun.contains(&item.section) { 1 } else { FRAME };
            let room = most - used;
            let costs = item.forms.iter().map(|form| cost(form, frame, room));
            if let Some((form, cost)) = costs.enumerate().find_map(|(form, cost)| Some((form, cost?))) {
                taken[index] = Some(form);
                used += cost;
                order.push(index);
                begun.push(item.section);
            }
        }
        // Tokens of parts are nearly those of the whole; the whole decides.
        loop {
            let text = self.write(&taken);
            let tokens = tokens::count(&text);
            let Some(last) = order.pop().filter(|_| tokens > most) else { return Ok(Prompt { text, tokens }) };
            taken[last] = None;
        }
    }

    fn write(&self, taken: &Taken) -> String {
        let mut text = String::from("# Explain and mend a failure\n\n## Rules\n\n");
        text.push_str(include_str!("rules.md"));
        self.block(&mut text, taken, "Repositories", &[Section::Repositories]);
        let _ = write!(text, "\n## Evidence\n\nBundle `{}`.\n\n", clean(&self.bundle.bundle_id));
        text.push_str(&fenced("text", &self.evidence(taken)));
        let slices = self.taken(taken, Section::Code);
        if !slices.is_empty() {
            let _ = write!(text, "\n## Code\n\n{}", slices.join("\n"));
        }
        self.block(&mut text, taken, "On code that is not here", &[Section::CodeNotes]);
        self.block(&mut text, taken, "What was done before", &[Section::Fixes]);
        text.push_str("\n## Task\n\n");
        text.push_str(include_str!("task.md"));
        text.push_str("\n## Form of claims\n\n");
        text.push_str(&include_str!("form.md").replace("BUNDLE_ID", &clean(&self.bundle.bundle_id)));
        self.left_out(&mut text, taken);
        text
    }

    /// The forms that are written of a section, in the order of the bundle.
    fn taken(&self, taken: &Taken, section: Section) -> Vec<&str> {
        let items = self.items.iter().zip(taken).filter(|(item, _)| item.section == section);
        items.filter_map(|(item, form)| item.forms.get((*form)?).map(String::as_str)).collect()
    }

    /// A section of its own with a fence round its entries.
    fn block(&self, text: &mut String, taken: &Taken, title: &str, sections: &[Section]) {
        let lines: Vec<&str> = sections.iter().flat_map(|section| self.taken(taken, *section)).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n## {title}\n\n{}", fenced("text", &lines.join("\n")));
        }
    }

    /// The trace itself, and all sections of evidence that have entries.
    fn evidence(&self, taken: &Taken) -> String {
        let mut text = trace_lines(self.bundle);
        for section in Section::EVIDENCE {
            let lines = self.taken(taken, section);
            if !lines.is_empty() {
                let _ = write!(text, "\n\n{}:\n{}", section.title(), lines.join("\n"));
            }
        }
        text
    }

    fn left_out(&self, text: &mut String, taken: &Taken) {
        let mut counts: BTreeMap<Section, usize> = BTreeMap::new();
        for (item, _) in self.items.iter().zip(taken).filter(|(_, form)| form.is_none()) {
            *counts.entry(item.section).or_default() += 1;
        }
        let mut lines: Vec<String> =
            counts.iter().map(|(section, count)| format!("- {}: {count} had no room", section.title())).collect();
        let shortened = taken.iter().filter(|form| form.is_some_and(|form| form > 0)).count();
        if shortened > 0 {
            lines.push(format!("- {}: {shortened} shortened", Section::Code.title()));
        }
        let omitted = self.bundle.evidence.omitted.iter();
        lines.extend(omitted.map(|(section, cut)| {
            format!("- {}: {} not in the bundle ({})", clean(section), cut.omitted, clean(&cut.why))
        }));
        if !lines.is_empty() {
            let _ = write!(text, "\n## Left out\n\n{}\n", lines.join("\n"));
        }
    }
}
