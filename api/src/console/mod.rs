//! The console: pages for people, outside `/v1` and its document. A client of the API within this process: each page asks
//! the API's own operations, as whoever is signed in, and shows what they answer; only what has changed it hears from the
//! book of orders itself. So it holds no rule of its own, and nobody
//! sees or does more here than they could with the same token there.

mod act;
mod assets;
mod board;
mod chart;
mod client;
mod contexts;
mod dashboard;
mod diagram;
mod edit;
mod format;
mod labels;
mod layout;
mod live;
mod merchants;
mod order;
mod place;
mod session;
mod sign_in;
mod stuck;
mod text;
mod timeline;
mod views;
mod visit;

use std::sync::Arc;

use flate2::Compression;
use futures::FutureExt;
use futures::future::ready;
use maud::html;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response};
use workflows::order::OrderBook;

use crate::Mint;
use crate::access::Access;
use crate::framework;
use crate::orders::Live;
use crate::problem::Problem;

pub(crate) use session::{Session, token};

use client::{Api, Told, escaped, with_query};
use layout::{Page, problem, see};
use text::Text;
use visit::Visit;

/// What a page may do: load what is ours, and send forms here. Nothing runs that stands in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Smaller pages are sent as they are.
const WORTH_COMPRESSING: usize = 1024;

/// What the console is made of.
pub(crate) struct Console {
    /// The API, behind its doors.
    pub api: Arc<BoxEndpoint<'static>>,
    pub access: Arc<Access>,
    pub live: Live,
    pub orders: Arc<dyn OrderBook>,
    /// Makes tokens for whoever chooses a role.
    pub mint: Option<Mint>,
    /// Whether providers are those of local mode, who take test cards and can be made to fail.
    pub local: bool,
}

/// Why there is no page as it was asked for.
enum Trouble {
    /// Nobody is signed in.
    SignIn,
    Told(Told),
}

impl From<Told> for Trouble {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

type Answer = Result<Response, Trouble>;

/// Whether the console answers for that path.
pub(crate) fn owns(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(
        first,
        "" | "assets"
            | "dashboard"
            | "language"
            | "live"
            | "merchants"
            | "orders"
            | "place"
            | "sandbox"
            | "sign-in"
            | "sign-out"
            | "stuck"
    )
}

/// Whether it is a page, and no part of all pages that browsers keep.
pub(crate) fn is_page(path: &str) -> bool {
    owns(path) && !path.starts_with("/assets/")
}

impl Console {
    /// The answer to a request for one of the console's paths.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        if let Some(asset) = assets::serve(&request) {
            return asset;
        }
        let visit = Visit::read(request).await;
        match self.page(&visit).await {
            Ok(response) => response,
            Err(Trouble::SignIn) => {
                // Whoever has filled in a form goes on where the form was.
                let back = if visit.method == Method::POST { visit.came_from().unwrap_or("/") } else { &visit.here };
                let next = Some(back).filter(|back| *back != "/");
                let sign_in = with_query("/sign-in", &[("next", next), ("why", next.map(|_| "over"))]);
                if visit.wants_a_part() { go_to(&sign_in) } else { see(&sign_in) }
            }
            Err(Trouble::Told(told)) => self.trouble(&visit, &told),
        }
    }

    /// Which page it is.
    async fn page(&self, visit: &Visit) -> Answer {
        let path: Vec<_> = visit.path.iter().map(String::as_str).collect();
        let get = matches!(visit.method, Method::GET | Method::HEAD);
        if !get && visit.method != Method::POST {
            return Ok(Problem::method_not_allowed("GET, HEAD, POST".to_owned()).into_response());
        }
        if !get {
            must_be_ours(visit)?;
        }
        // Boxed, so that the largest page does not make room for itself in all of them.
        let page = match (get, path.as_slice()) {
            (true, []) => board::page(self, visit).boxed(),
            (true, ["sign-in"]) => sign_in::page(self, visit, None).boxed(),
            (false, ["sign-in"]) => sign_in::begin(self, visit).boxed(),
            (false, ["sign-out"]) => ready(Ok(sign_in::end(visit))).boxed(),
            (true, ["language", code]) => ready(sign_in::language(visit, code)).boxed(),
            (true, ["live"]) => live::stream(self, visit).boxed(),
            (true, ["orders", id]) => order::page(self, visit, id, None).boxed(),
            (false, ["orders", id, asked]) => act::command(self, visit, id, asked).boxed(),
            (true, ["place"]) => place::page(self, visit, None).boxed(),
            (false, ["place"]) => place::place(self, visit).boxed(),
            (true, ["stuck"]) => stuck::page(self, visit, None).boxed(),
            (false, ["stuck", asked]) => stuck::command(self, visit, asked).boxed(),
            (true, ["merchants"]) => merchants::list(self, visit, None).boxed(),
            (false, ["merchants"]) => merchants::create(self, visit).boxed(),
            (true, ["merchants", id]) => merchants::page(self, visit, id, None).boxed(),
            (false, ["merchants", id, "products"]) => merchants::save_product(self, visit, id).boxed(),
            (true, ["merchants", id, "lifecycle"]) => edit::page(self, visit, id).boxed(),
            (false, ["merchants", id, "lifecycle"]) => edit::save(self, visit, id).boxed(),
            // Where forms are posted is nothing to look at: what they are about is.
            (true, ["stuck", _]) => ready(Ok(see("/stuck"))).boxed(),
            (true, ["sandbox", _]) => ready(Ok(see("/dashboard"))).boxed(),
            (true, ["orders", id, _]) => ready(Ok(see(&format!("/orders/{}", escaped(id))))).boxed(),
            (true, ["merchants", id, "products"]) => ready(Ok(see(&format!("/merchants/{}", escaped(id))))).boxed(),
            (true, ["dashboard"]) => dashboard::page(self, visit, None).boxed(),
            (false, ["sandbox", context]) => dashboard::switch(self, visit, context).boxed(),
            _ => ready(Err(nothing_here(visit).into())).boxed(),
        };
        page.await
    }

    /// The API as whoever is signed in.
    fn api(&self, visit: &Visit) -> Result<Api, Trouble> {
        let session = visit.session.as_ref().ok_or(Trouble::SignIn)?;
        Ok(Api { endpoint: self.api.clone(), caller: session.caller.clone(), language: visit.language })
    }

    /// A page that says what went wrong.
    fn trouble(&self, visit: &Visit, told: &Told) -> Response {
        if visit.wants_a_part() {
            return match told.status {
                // What the page is about has gone from sight.
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => go_to("/"),
                // What is there stays, and is asked for again.
                status => Response::builder().status(status).header("hx-reswap", "none").finish(),
            };
        }
        let told = if told.status == StatusCode::NOT_FOUND { &nothing_here(visit) } else { told };
        let content = html! {
            div.narrow {
                h1 { (told.title) }
                (problem(visit, told))
                p { a href="/" { (visit.say(Text::BackToBoard)) } }
            }
        };
        let response = Page { status: told.status, ..Page::new("", told.title.clone(), content) }.respond(self, visit);
        match told.retry_after.as_deref().and_then(|seconds| HeaderValue::try_from(seconds).ok()) {
            Some(seconds) => with_header(response, header::RETRY_AFTER, seconds),
            None => response,
        }
    }
}

/// Refuses what does not come from a form of ours.
fn must_be_ours(visit: &Visit) -> Result<(), Trouble> {
    let proved = match &visit.session {
        Some(session) => session.is_proved_by(visit.form.text("proof")),
        None if visit.path == ["sign-in"] || visit.path == ["sign-out"] => true,
        None => return Err(Trouble::SignIn),
    };
    // Whoever signs in anew has no session of the page that they come from.
    let signs_in = visit.path == ["sign-in"];
    if visit.from_here && (proved || signs_in) {
        return Ok(());
    }
    let (title, detail) = (visit.say(Text::FormOutdated), visit.say(Text::FormOutdatedDetail));
    Err(Told::own(StatusCode::FORBIDDEN, title, detail).into())
}

/// Sends the browser elsewhere although it asked for a part of a page.
fn go_to(path: &str) -> Response {
    Response::builder().status(StatusCode::NO_CONTENT).header("hx-redirect", path).finish()
}

fn nothing_here(visit: &Visit) -> Told {
    Told::own(StatusCode::NOT_FOUND, visit.say(Text::NotFoundTitle), visit.say(Text::NotFoundDetail))
}

/// Whatever is answered for the console's paths, also where it never heard of the request: a page and not JSON, under the
/// policy of pages, and kept by nobody.
pub(crate) async fn for_people<E: Endpoint<Output = Response>>(
    console: Arc<Console>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    if !owns(request.uri().path()) {
        return next.call(request).await;
    }
    let gzip = assets::takes_gzip(&request);
    let stranger = Visit::of_nobody(&request);
    let mut response = framework::answered(&*next, request).await;
    if response.content_type().is_some_and(|kind| kind.starts_with(crate::problem::CONTENT_TYPE)) {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = console.trouble(&stranger, &Told::read(response).await);
        if let Some(allow) = allow {
            response = with_header(response, header::ALLOW, allow);
        }
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response = with_header(response, name, HeaderValue::from_static(value));
    }
    if !response.headers().contains_key(header::CACHE_CONTROL) {
        response = with_header(response, header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let vary = HeaderValue::from_static("accept-encoding, accept-language, cookie");
    response = with_header(response, header::VARY, vary);
    Ok(if gzip { compressed(response).await } else { response })
}

fn with_header(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}

/// The same page, in fewer bytes.
async fn compressed(response: Response) -> Response {
    let is_page = response.content_type().is_some_and(|kind| kind.starts_with("text/html"));
    if !is_page || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(plain) = body.into_vec().await else {
        return Problem::internal().into_response();
    };
    if plain.len() < WORTH_COMPRESSING {
        return Response::from_parts(parts, Body::from_vec(plain));
    }
    let body = Body::from_vec(assets::compressed(&plain, Compression::fast()));
    with_header(Response::from_parts(parts, body), header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
}
