//! What jumun says: data on standard output, everything else on standard error. A reader that has gone away is no
//! reason to stop.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use workflows::Context;

use crate::seed;
use crate::store_url::StoreUrl;

/// Where everything is, once it runs. With `--json` this is the line on standard output.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    pub api: String,
    pub docs: String,
    pub engine_ui: String,
    pub engine_ingress: String,
    pub engine_admin: String,
    pub worker: String,
    pub data_dir: PathBuf,
    pub pid: u32,
    /// The engine's process as it is now; another one takes its place when it dies.
    pub engine_pid: Option<u32>,
    #[serde(skip)]
    pub keeps_data: bool,
}

/// One line of JSON, or a page for a person.
pub fn ready(ready: &Ready, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, ready)?;
        writeln!(out)?;
    } else {
        page(ready, &mut out)?;
    }
    out.flush()
}

fn page(ready: &Ready, out: &mut impl Write) -> io::Result<()> {
    let Ready { api, docs, engine_ui, data_dir, .. } = ready;
    let fate = if ready.keeps_data { "kept; the next start carries on with it" } else { "removed in the end" };
    let (merchant, sku) = (seed::MERCHANT, seed::SKU);
    // Where it is not looked for by itself.
    let key = if data_dir.ends_with(".jumun") { String::new() } else { format!(" --data-dir {}", data_dir.display()) };
    write!(
        out,
        r#"jumun is running.

  console    {api}
  API        {api}/v1
  API docs   {docs}
  engine UI  {engine_ui}
  data       {data} ({fate})

Place a first order (again with the same Idempotency-Key: the same order):

  TOKEN=$(jumun token --role customer --subject minji{key})
  curl -i {api}/v1/orders -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' -H 'Idempotency-Key: first-order' \
    -d '{{"merchant_id": "{merchant}",
         "customer": {{"name": "Kim Minji", "phone": "+82 10 1234 5678", "address": "12 Sejong-daero, Seoul"}},
         "lines": [{{"sku": "{sku}", "quantity": 2}}],
         "payment": {{"method": "card", "card_token": "tok_ok"}}}}'

An order of each of the five shops, live:

  jumun demo --api {api}{key}

Stop with Ctrl-C.
"#,
        data = data_dir.display(),
    )
}

/// Where a part of jumun is that runs alone. With `--json` this is the line on standard output.
#[derive(Clone, Debug, Serialize)]
pub struct PartReady {
    pub part: &'static str,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management: Option<String>,
    pub pid: u32,
}

/// One line of JSON, or two for a person.
pub fn part_ready(ready: &PartReady, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, ready)?;
        writeln!(out)?;
    } else {
        writeln!(out, "jumun's {} is running at {}", ready.part, ready.url)?;
        if let Some(management) = &ready.management {
            writeln!(out, "probes and metrics are at {management}")?;
        }
    }
    out.flush()
}

/// Where a provider is, once it serves. With `--json` this is the line on standard output.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderReady {
    pub context: Context,
    pub url: String,
    pub pid: u32,
    #[serde(skip)]
    pub store: StoreUrl,
    #[serde(skip)]
    pub sandbox: bool,
}

/// One line of JSON, or a page for a person.
pub fn provider_ready(ready: &ProviderReady, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, ready)?;
        writeln!(out)?;
    } else {
        provider_page(ready, &mut out)?;
    }
    out.flush()
}

fn provider_page(ready: &ProviderReady, out: &mut impl Write) -> io::Result<()> {
    let ProviderReady { context, url, store, sandbox, .. } = ready;
    write!(
        out,
        "\
jumun's {context} provider is running.

  contract   {url}/openapi.json
  data       {store}
"
    )?;
    if *sandbox {
        writeln!(out, "  sandbox    {url}/sandbox (anybody may switch the provider off)")?;
    }
    write!(
        out,
        "
Point jumun at it:

  jumun --provider {context}={url}

Stop with Ctrl-C.
"
    )
}

/// What a command was asked for: one line of JSON, or text for a person.
pub fn data(text: &str, value: &impl Serialize, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, value)?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}

/// A number of bytes, for people.
pub struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(bytes) = self;
        let (kib, mib) = (1024, 1024 * 1024);
        match bytes {
            0..1024 => write!(f, "{bytes} bytes"),
            1024..1_048_576 => write!(f, "{} KiB", bytes.div_ceil(kib)),
            _ => write!(f, "{}.{} MiB", bytes / mib, bytes % mib * 10 / mib),
        }
    }
}

/// A line about what goes on.
pub fn progress(line: impl Display) {
    // Nobody is left to be told that nobody listens.
    let _ = writeln!(io::stderr().lock(), "jumun: {line}");
}

/// An error with what caused it, as far as it does not say that itself.
pub fn error(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    progress(format_args!("error: {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Ready {
        Ready {
            api: "http://127.0.0.1:8088".to_owned(),
            docs: "http://127.0.0.1:8088/docs".to_owned(),
            engine_ui: "http://127.0.0.1:9070/ui/".to_owned(),
            engine_ingress: "http://127.0.0.1:8080".to_owned(),
            engine_admin: "http://127.0.0.1:9070".to_owned(),
            worker: "http://127.0.0.1:9080".to_owned(),
            data_dir: "/tmp/jumun".into(),
            pid: 1,
            engine_pid: Some(2),
            keeps_data: true,
        }
    }

    #[test]
    fn sizes_are_short() {
        let shown = [0, 1_023, 1_024, 1_025, 1_048_576, 1_600_000].map(|bytes| Size(bytes).to_string());
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1 KiB", "2 KiB", "1.0 MiB", "1.5 MiB"]);
    }

    #[test]
    fn the_curl_on_the_page_carries_json() {
        let mut page = Vec::new();
        super::page(&somewhere(), &mut page).expect("writes");
        let page = String::from_utf8(page).expect("is text");
        let body = page.split('\'').find(|part| part.starts_with('{')).expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("is JSON");
        assert_eq!(body["merchant_id"], seed::MERCHANT);
        assert!(page.contains("curl -i http://127.0.0.1:8088/v1/orders"));
    }

    #[test]
    fn a_provider_says_how_to_use_it() {
        let ready = ProviderReady {
            context: Context::Payment,
            url: "http://127.0.0.1:9101".to_owned(),
            pid: 123,
            store: "postgres://u:hunter2@db/payments".parse().expect("a store"),
            sandbox: false,
        };
        let line = serde_json::to_string(&ready).expect("is JSON");
        assert_eq!(line, r#"{"context":"payment","url":"http://127.0.0.1:9101","pid":123}"#);
        let mut page = Vec::new();
        provider_page(&ready, &mut page).expect("writes");
        let page = String::from_utf8(page).expect("is text");
        for part in ["--provider payment=http://127.0.0.1:9101", "/openapi.json", "postgres://db/payments"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("hunter2") && !page.contains("sandbox"), "{page}");
    }

    #[test]
    fn the_machine_s_line_names_everything() {
        let line = serde_json::to_value(somewhere()).expect("is JSON");
        let keys: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected =
            ["api", "docs", "engine_ui", "engine_ingress", "engine_admin", "worker", "data_dir", "pid", "engine_pid"];
        expected.sort_unstable();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, expected);
    }
}
