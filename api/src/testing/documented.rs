//! What the document says of problems: whatever a test of this crate asks, it is answered with problems that the
//! operation documents.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use poem::http::{Method, StatusCode};
use serde_json::Value as Json;

use super::Answer;
use crate::openapi;

/// An operation of the document.
pub(crate) struct Operation {
    pub id: String,
    pub method: Method,
    /// With the names of its parameters in braces.
    pub path: String,
    /// Whether it takes a body.
    pub takes_body: bool,
    /// Status and type of every problem that it may answer with.
    pub problems: BTreeSet<(u16, String)>,
}

/// All operations, those of the sandbox included.
pub(crate) static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let document: Json = serde_json::from_str(&openapi(true)).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, verbs)| {
        let verbs = verbs.as_object().expect("operations").iter();
        verbs.map(|(verb, operation)| Operation::of(path, verb, operation)).collect::<Vec<_>>()
    });
    operations.collect()
});

impl Operation {
    fn of(path: &str, verb: &str, operation: &Json) -> Self {
        let mut problems = BTreeSet::new();
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let kinds = "/content/application~1problem+json/schema/allOf/1/properties/type/enum";
            let kinds = response.pointer(kinds).and_then(Json::as_array).into_iter().flatten();
            let status = status.parse().expect("a status");
            problems.extend(kinds.filter_map(Json::as_str).map(|kind| (status, kind.to_owned())));
        }
        Self {
            id: operation["operationId"].as_str().expect("an id").to_owned(),
            method: verb.to_uppercase().parse().expect("a verb"),
            path: path.to_owned(),
            takes_body: operation["requestBody"].is_object(),
            problems,
        }
    }

    /// How many parts of the path are the operation's own words; none if it is another operation's path.
    fn takes(&self, path: &str) -> Option<usize> {
        let (own, asked): (Vec<_>, Vec<_>) = (self.path.split('/').collect(), path.split('/').collect());
        let same = |(own, asked): (&&str, &&str)| own == asked || own.starts_with('{');
        let fits = own.len() == asked.len() && own.iter().zip(&asked).all(same);
        fits.then(|| own.iter().zip(&asked).filter(|(own, asked)| own == asked).count())
    }
}

/// The operation that is asked, if it is one.
fn operation(method: &Method, path: &str) -> Option<&'static Operation> {
    let operations = OPERATIONS.iter().filter(|operation| operation.method == *method);
    operations
        .filter_map(|operation| Some((operation.takes(path)?, operation)))
        .max_by_key(|(own, _)| *own)
        .map(|(_, it)| it)
}

/// A problem is one that the operation documents.
#[track_caller]
pub(super) fn check(method: &Method, path: &str, answer: &Answer) {
    // A verb that the path does not take is no operation.
    let is_problem = answer.status.as_u16() >= 400 && answer.status != StatusCode::METHOD_NOT_ALLOWED;
    let Some(operation) = operation(method, path).filter(|_| is_problem) else { return };
    let kind = answer.body["type"].as_str().unwrap_or_default().to_owned();
    let Operation { id, problems, .. } = operation;
    assert!(problems.contains(&(answer.status.as_u16(), kind)), "{id} documents no such answer: {answer:?}");
}
