//! What browsers get beside pages: part of the binary, compressed once, and named by its content, so that they keep it for
//! good.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{StatusCode, header};
use poem::{Request, Response};
use sha2::{Digest, Sha256};

/// For good: what changes has another name.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(super) const STYLE: &str = "console.css";
pub(super) const ICON: &str = "icon.svg";
pub(super) const SCRIPT: &str = "console.js";
/// All scripts in one, in the order in which they need each other: a page is there sooner for having less to ask for.
const SCRIPTS: &str = concat!(
    include_str!("assets/htmx.min.js"),
    "\n",
    include_str!("assets/idiomorph-ext.min.js"),
    "\n",
    include_str!("assets/console.js"),
);

struct Asset {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    compressed: Vec<u8>,
    /// Where it is served.
    path: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new(STYLE, "text/css; charset=utf-8", include_bytes!("assets/console.css")),
        Asset::new(ICON, "image/svg+xml", include_bytes!("assets/icon.svg")),
        Asset::new(SCRIPT, "text/javascript; charset=utf-8", SCRIPTS.as_bytes()),
    ]
});

impl Asset {
    fn new(name: &'static str, kind: &'static str, plain: &'static [u8]) -> Self {
        let hash = Sha256::digest(plain);
        let version = hash.iter().take(6).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let path = format!("/assets/{stem}.{version}.{extension}");
        Self { name, kind, plain, compressed: compressed(plain, Compression::best()), path }
    }
}

/// Where the asset of that name is served.
pub(super) fn path(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("/assets/", |asset| asset.path.as_str())
}

/// The asset that is asked for.
pub(super) fn serve(request: &Request) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path == request.uri().path())?;
    let response = Response::builder()
        .status(StatusCode::OK)
        .content_type(asset.kind)
        .header(header::CACHE_CONTROL, FOR_GOOD)
        .header(header::VARY, "accept-encoding");
    Some(if takes_gzip(request) {
        response.header(header::CONTENT_ENCODING, "gzip").body(asset.compressed.as_slice())
    } else {
        response.body(asset.plain)
    })
}

/// Whether the caller takes an answer that is compressed so.
pub(super) fn takes_gzip(request: &Request) -> bool {
    let encodings = request.header(header::ACCEPT_ENCODING.as_str()).unwrap_or_default();
    encodings.split(',').any(|encoding| {
        let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

pub(super) fn compressed(plain: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}
