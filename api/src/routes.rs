//! The routes: those of the API, which its document lists, those of the document itself, and the console's. A test holds the
//! table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use poem::endpoint::{BoxEndpoint, make, make_sync};
use poem::http::{Method, StatusCode, header};
use poem::middleware::{CatchPanic, SetHeader};
use poem::web::Html;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};

use crate::access::{Access, authenticated};
use crate::console::{self, Console};
use crate::document::{self, Document};
use crate::metrics::Metrics;
use crate::operations::Operations;
use crate::pressure::Pressure;
use crate::{framework, limits, metrics, parameters, pressure};

type Table = HashMap<String, HashMap<Method, BoxEndpoint<'static>>>;

/// `api` and its document, and the console that `console` makes of them, behind everything that applies to all routes.
pub(crate) fn mount<T: OpenApi + 'static>(
    api: T,
    console: impl FnOnce(Arc<BoxEndpoint<'static>>) -> Console,
    access: Arc<Access>,
    pressure: &Arc<Pressure>,
    metrics: &Metrics,
) -> BoxEndpoint<'static> {
    let api = document::service(Routes(api)).into_endpoint().around(framework::naming_verbs);
    let api: Arc<BoxEndpoint<'static>> = Arc::new(api.boxed());
    let console = Arc::new(console(api.clone()));
    let pages = console.clone();
    let body_timeout = pressure.limits.body_timeout;
    let operations = Arc::new(Operations::of::<T>());
    let (rated, opened, met, metrics) = (pressure.clone(), pressure.clone(), pressure.clone(), metrics.clone());
    make(move |request| routed(api.clone(), console.clone(), request))
        .before(move |request| limits::bounded(body_timeout, request))
        .around(move |next, request| pressure::limited(rated.clone(), next, request))
        .around(move |next, request| authenticated(access.clone(), next, request))
        .around(move |next, request| pressure::strangers(met.clone(), next, request))
        .around(move |next, request| pressure::shed(opened.clone(), next, request))
        .with(CatchPanic::new().with_handler(framework::panicked))
        .catch_all_error(framework::told)
        .around(move |next, request| metrics::measured(metrics.clone(), operations.clone(), next, request))
        .with(
            SetHeader::new()
                .overriding("x-content-type-options", "nosniff")
                .overriding("vary", "accept, accept-language"),
        )
        .around(move |next, request| console::for_people(pages.clone(), next, request))
        .boxed()
}

/// Answers for people by the console, and for programs by the API.
async fn routed(api: Arc<BoxEndpoint<'static>>, console: Arc<Console>, request: Request) -> poem::Result<Response> {
    if console::owns(request.uri().path()) {
        Ok(Box::pin(console.answer(request)).await)
    } else {
        api.call(request).await
    }
}

struct Routes<T>(T);

impl<T: OpenApi> OpenApi for Routes<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, table: &mut Table) {
        let Document { json, html } = Document::of::<T>();
        self.0.add_routes(table);
        parameters::check::<T>(table);
        let mut page = |path: &str, page: BoxEndpoint<'static>| {
            table.insert(path.to_owned(), HashMap::from([(Method::GET, page)]));
        };
        page("/docs", make_sync(move |_| Html(html.clone())).map_to_response().boxed());
        page(
            "/openapi.json",
            make_sync(move |_| Response::builder().content_type("application/json").body(json.clone())).boxed(),
        );
        table.values_mut().for_each(answer_options);
    }
}

/// OPTIONS names the verbs that a path takes.
fn answer_options(verbs: &mut HashMap<Method, BoxEndpoint<'static>>) {
    let mut allow: BTreeSet<String> = verbs.keys().map(Method::to_string).collect();
    if verbs.contains_key(&Method::GET) {
        allow.insert(Method::HEAD.to_string());
    }
    allow.insert(Method::OPTIONS.to_string());
    let allow = Vec::from_iter(allow).join(", ");
    let options =
        make_sync(move |_| Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, &allow).finish());
    verbs.insert(Method::OPTIONS, options.boxed());
}
