//! A bundle for a reader who may not see all of it, or has little room: a view. It has the bundle's id and says what
//! it lacks, so that nobody takes it for the bundle: its evidence has another hash.

use serde_json::{Map, Value, json};
use tracerag_schemas::bundle::{Bundle, Omitted};

use crate::error::Result;

/// Bytes that a token stands for: JSON with identifiers takes about four.
const BYTES_A_TOKEN: usize = 4;

/// Sections that are cut to make room, the least telling first. Of each, entries go from the end.
const CUT: [&str; 9] = ["metrics", "linked", "heaps", "payloads", "logs", "spans", "builds", "flags", "failures"];

/// Why heap summaries are not there.
const NO_HEAPS: &str = "withheld: they need the scope heap";

/// The bundle without heap summaries.
pub fn without_heaps(mut bundle: Bundle) -> Bundle {
    let late = bundle.context.late.len();
    bundle.context.late.retain(|late| late.get("section").and_then(Value::as_str) != Some("heaps"));
    let withheld = bundle.evidence.heaps.len() + late - bundle.context.late.len();
    bundle.evidence.heaps.clear();
    let mut omitted = Omitted { omitted: withheld as u64, why: NO_HEAPS.to_owned() };
    // What the bundle itself has no room for is still not there.
    if let Some(before) = bundle.evidence.omitted.get("heaps") {
        omitted.omitted += before.omitted;
        omitted.why = format!("{NO_HEAPS}; {} of them: {}", before.omitted, before.why);
    }
    bundle.evidence.omitted.insert("heaps".to_owned(), omitted);
    bundle
}

/// The bundle as JSON within about `max_tokens` tokens, if a bound is given. A view names what it left out under
/// `view`. Failures, then the failing path, are the last to go; the trace itself always stays.
///
/// # Errors
/// When the bundle has no JSON form.
pub fn json(bundle: &Bundle, max_tokens: Option<usize>) -> Result<Value> {
    let mut document = serde_json::to_value(bundle)?;
    let mut view = Map::new();
    if bundle.evidence.omitted.get("heaps").is_some_and(|omitted| omitted.why.starts_with(NO_HEAPS)) {
        view.insert("withheld".to_owned(), json!(["heaps"]));
    }
    if let Some(max_tokens) = max_tokens {
        let left_out = cut(&mut document, max_tokens.saturating_mul(BYTES_A_TOKEN));
        if !left_out.is_empty() {
            view.insert("max_tokens".to_owned(), json!(max_tokens));
            view.insert("left_out".to_owned(), Value::Object(left_out));
        }
    }
    if !view.is_empty()
        && let Some(members) = document.as_object_mut()
    {
        members.insert("view".to_owned(), Value::Object(view));
    }
    Ok(document)
}

/// Takes entries out until the document has no more than `room` bytes; gives how many of which section.
fn cut(document: &mut Value, room: usize) -> Map<String, Value> {
    let mut size = document.to_string().len();
    let mut left_out = Map::new();
    let mut cut_list = |list: Option<&mut Value>, section: &str, goes: fn(&Value) -> bool| {
        let Some(entries) = list.and_then(Value::as_array_mut) else { return };
        let before = entries.len();
        for index in (0..before).rev() {
            if size <= room {
                break;
            }
            if entries.get(index).is_some_and(goes) {
                let entry = entries.remove(index);
                size = size.saturating_sub(entry.to_string().len() + 1);
            }
        }
        let cut = before - entries.len();
        if cut > 0 {
            let known = left_out.get(section).and_then(Value::as_u64).unwrap_or_default();
            left_out.insert(section.to_owned(), json!(known + cut as u64));
        }
    };
    let any = |_: &Value| true;
    cut_list(document.pointer_mut("/context/late"), "late", any);
    for section in CUT {
        let list = format!("/evidence/{section}");
        if section == "spans" {
            cut_list(document.pointer_mut(&list), section, is_beside_the_path);
        }
        cut_list(document.pointer_mut(&list), section, any);
    }
    cut_list(document.pointer_mut("/context/baseline/differences"), "baseline", any);
    cut_list(document.pointer_mut("/context/similar"), "similar", any);
    left_out
}

/// A span that neither failed nor took the time.
fn is_beside_the_path(span: &Value) -> bool {
    span["status"] != "ERROR" && span["on_critical_path"] != true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bundle;
    use crate::tests::lake::{FAILING, TestLake};

    /// Without heaps the id stays and the hash does not, what is withheld is counted, and nothing of it is left, late
    /// summaries included.
    #[tokio::test]
    async fn heaps_are_withheld() {
        let lake = TestLake::example(false, 10_000).await;
        let whole = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
        assert!(!whole.evidence.heaps.is_empty() && json(&whole, None).unwrap().get("view").is_none());
        let view = without_heaps(whole.clone());
        assert_eq!(view.bundle_id, whole.bundle_id);
        assert!(!view.is_intact());
        let document = json(&view, None).unwrap();
        assert_eq!(document["view"]["withheld"], json!(["heaps"]));
        assert!(document["evidence"]["omitted"]["heaps"]["omitted"].as_u64().unwrap() > 0);
        assert!(!document.to_string().contains("decimal.Big"), "{document}");

        let mut cut = whole;
        let withheld = view.evidence.omitted["heaps"].omitted;
        cut.evidence.omitted.insert("heaps".to_owned(), Omitted { omitted: 7, why: "the bundle holds 50".to_owned() });
        let view = without_heaps(cut);
        let omitted = &view.evidence.omitted["heaps"];
        assert_eq!(omitted.omitted, withheld + 7);
        assert!(omitted.why.starts_with(NO_HEAPS) && omitted.why.ends_with("7 of them: the bundle holds 50"));
        assert_eq!(json(&view, None).unwrap()["view"]["withheld"], json!(["heaps"]));
    }

    /// A view fits its room as long as the trace itself does; what is left out is counted, entry by entry, and the
    /// failure outlasts the metrics. Enough room leaves the bundle as it is.
    #[tokio::test]
    async fn a_view_fits_its_room() {
        let lake = TestLake::example(false, 10_000).await;
        let whole = bundle::assemble(&lake.session("acme").await, FAILING).await.unwrap();
        let document = json(&whole, None).unwrap();
        assert_eq!(json(&whole, Some(1_000_000)).unwrap(), document);
        let tokens = document.to_string().len() / BYTES_A_TOKEN;
        let smaller = json(&whole, Some(tokens / 2)).unwrap();
        let view = smaller["view"].clone();
        let evidence = smaller["evidence"].clone();
        let mut rest = smaller;
        rest.as_object_mut().unwrap().shift_remove("view");
        assert!(rest.to_string().len() <= tokens / 2 * BYTES_A_TOKEN, "{rest:#}");
        assert_eq!(view["max_tokens"], tokens / 2);
        let left = |section: &str| evidence[section].as_array().unwrap().len();
        let all = |section: &str| document["evidence"][section].as_array().unwrap().len();
        for section in CUT {
            let out = view["left_out"][section].as_u64().unwrap_or_default() as usize;
            assert_eq!(left(section) + out, all(section), "{section}: {view:#}");
        }
        assert_eq!((left("metrics"), left("failures")), (0, all("failures")), "{view:#}");
    }
}
