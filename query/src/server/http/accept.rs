//! The form that a client would rather have, by its header `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// Of the forms that there are, the one whose media type the client prefers, the first of equals. `None` if it says
/// nothing, or takes none of them.
pub(in crate::server) fn preferred<T: Copy>(headers: &HeaderMap, offered: &[(T, &str)]) -> Option<T> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range> = values.flat_map(|value| value.split(',')).filter_map(Range::of).collect();
    let mut best: Option<(f32, T)> = None;
    for (form, media_type) in offered {
        let quality = quality(&ranges, media_type);
        if quality > best.map_or(0.0, |(known, _)| known) {
            best = Some((quality, *form));
        }
    }
    best.map(|(_, form)| form)
}

/// How much a media type is wanted, from 0 (not at all) to 1: the range that fits it most closely says so.
fn quality(ranges: &[Range], media_type: &str) -> f32 {
    let fitting = ranges.iter().filter_map(|range| Some((range.fit(media_type)?, range.quality)));
    fitting.max_by_key(|(fit, _)| *fit).map_or(0.0, |(_, quality)| quality)
}

/// An item of the header: `text/csv`, `text/*;q=0.5`, `*/*`.
struct Range {
    kind: String,
    subtype: String,
    quality: f32,
}

impl Range {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let media_type = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = media_type.split_once('/')?;
        let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
        let quality = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = quality.map_or(1.0, |(_, value)| value.trim().parse::<f32>().unwrap_or(0.0));
        Some(Self { kind: kind.to_owned(), subtype: subtype.to_owned(), quality })
    }

    /// How closely it fits a media type, if it does; its parameters are not looked at.
    fn fit(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split(';').next()?.split_once('/')?;
        match (self.kind.as_str(), self.subtype.as_str()) {
            (own, name) if own == kind && name == subtype => Some(2),
            (own, "*") if own == kind => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn chosen(accept: &[&'static str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        preferred(&headers, &[("json", "application/json"), ("csv", "text/csv; charset=utf-8"), ("arrow", "x/arrow")])
    }

    /// The highest quality wins, of equals the first that there is; a close range overrules a wide one, over several
    /// headers, too. Nothing is chosen for who says nothing or takes none of it.
    #[test]
    fn the_most_wanted_form_is_chosen() {
        for (accept, expected) in [
            (&["text/csv"][..], Some("csv")),
            (&["TEXT/CSV"], Some("csv")),
            (&["text/csv;q=0.5, application/json;q=0.4"], Some("csv")),
            (&["text/csv, application/json"], Some("json")),
            (&["text/csv;q=0, application/json"], Some("json")),
            (&["text/csv;q=0, */*;q=0.1"], Some("json")),
            (&["application/json;q=0.2", "text/*;q=0.3"], Some("csv")),
            (&["text/html, x/arrow;level=1;q=0.9, */*;q=0.8"], Some("arrow")),
            (&["*/*"], Some("json")),
            (&["text/html"], None),
            (&["text/csv;q=much"], None),
            (&["", ",;/", "csv"], None),
            (&[], None),
        ] {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }
}
