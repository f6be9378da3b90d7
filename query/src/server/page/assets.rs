//! The files of the page. A browser loads them as they are: there is nothing to build.

use super::Asset;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What every view is shown in.
pub(super) const DOCUMENT: Asset =
    Asset { name: "index.html", media_type: HTML, bytes: include_bytes!("assets/index.html") };

/// What it loads.
pub(super) const ASSETS: [Asset; 22] = [
    Asset { name: "api.js", media_type: SCRIPT, bytes: include_bytes!("assets/api.js") },
    Asset { name: "bundle.js", media_type: SCRIPT, bytes: include_bytes!("assets/bundle.js") },
    Asset { name: "chart.js", media_type: SCRIPT, bytes: include_bytes!("assets/chart.js") },
    Asset { name: "dom.js", media_type: SCRIPT, bytes: include_bytes!("assets/dom.js") },
    Asset { name: "evidence.js", media_type: SCRIPT, bytes: include_bytes!("assets/evidence.js") },
    Asset { name: "favicon.svg", media_type: "image/svg+xml", bytes: include_bytes!("assets/favicon.svg") },
    Asset { name: "format.js", media_type: SCRIPT, bytes: include_bytes!("assets/format.js") },
    Asset { name: "incident.js", media_type: SCRIPT, bytes: include_bytes!("assets/incident.js") },
    Asset { name: "incidents.js", media_type: SCRIPT, bytes: include_bytes!("assets/incidents.js") },
    Asset { name: "keys.js", media_type: SCRIPT, bytes: include_bytes!("assets/keys.js") },
    Asset { name: "main.js", media_type: SCRIPT, bytes: include_bytes!("assets/main.js") },
    Asset { name: "page.css", media_type: STYLE, bytes: include_bytes!("assets/page.css") },
    Asset { name: "parts.js", media_type: SCRIPT, bytes: include_bytes!("assets/parts.js") },
    Asset { name: "sql.js", media_type: SCRIPT, bytes: include_bytes!("assets/sql.js") },
    Asset { name: "theme.js", media_type: SCRIPT, bytes: include_bytes!("assets/theme.js") },
    Asset { name: "token.js", media_type: SCRIPT, bytes: include_bytes!("assets/token.js") },
    Asset { name: "tokens.css", media_type: STYLE, bytes: include_bytes!("assets/tokens.css") },
    Asset { name: "trace.js", media_type: SCRIPT, bytes: include_bytes!("assets/trace.js") },
    Asset { name: "tree.js", media_type: SCRIPT, bytes: include_bytes!("assets/tree.js") },
    Asset { name: "views.css", media_type: STYLE, bytes: include_bytes!("assets/views.css") },
    Asset { name: "waterfall.css", media_type: STYLE, bytes: include_bytes!("assets/waterfall.css") },
    Asset { name: "waterfall.js", media_type: SCRIPT, bytes: include_bytes!("assets/waterfall.js") },
];
