//! Which operation a request asks for, before it is routed and even if it never is: the name under which it is counted.

use poem::http::Method;
use poem_openapi::OpenApi;

/// What is none of the documented operations.
const OTHER: &str = "other";

pub(crate) struct Operations(Vec<Operation>);

struct Operation {
    method: Method,
    /// The parts of its path; `None` stands for any.
    path: Vec<Option<String>>,
    id: &'static str,
}

impl Operations {
    pub(crate) fn of<T: OpenApi>() -> Self {
        let paths = T::meta().into_iter().flat_map(|api| api.paths);
        let mut operations: Vec<_> = paths
            .flat_map(|path| {
                let parts: Vec<_> = parts(&path.path).map(named).collect();
                path.operations.into_iter().filter_map(move |operation| {
                    Some(Operation { method: operation.method, path: parts.clone(), id: operation.operation_id? })
                })
            })
            .collect();
        // A part that is named is meant by its name.
        operations.sort_by_key(|operation| operation.path.iter().filter(|part| part.is_none()).count());
        Self(operations)
    }

    pub(crate) fn name(&self, method: &Method, path: &str) -> &'static str {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let asked = self.0.iter().find(|operation| operation.method == method && operation.is_at(path));
        asked.map_or(OTHER, |operation| operation.id)
    }
}

impl Operation {
    fn is_at(&self, path: &str) -> bool {
        let mut asked = parts(path);
        let as_named = self.path.iter().all(|part| match (asked.next(), part) {
            (Some(asked), Some(name)) => asked == name,
            (Some(_), None) => true,
            (None, _) => false,
        });
        as_named && asked.next().is_none()
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn named(part: &str) -> Option<String> {
    (!part.starts_with([':', '{'])).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalApi;

    #[test]
    fn an_operation_is_found_by_verb_and_path() {
        let operations = Operations::of::<LocalApi>();
        for (verb, path, name) in [
            (Method::POST, "/v1/orders", "place_order"),
            (Method::GET, "/v1/orders/ord_1", "get_order"),
            (Method::HEAD, "/v1/orders/ord_1", "get_order"),
            (Method::GET, "/v1/orders/ord_1/events", "list_order_events"),
            (Method::POST, "/v1/orders/ord_1/cancel", "command_order"),
            (Method::POST, "/v1/lifecycles/preview", "preview_lifecycle"),
            (Method::GET, "/v1/lifecycles/preview", "get_lifecycle"),
            (Method::GET, "/livez", "livez"),
            (Method::DELETE, "/v1/orders", OTHER),
            (Method::GET, "/v1/orders/ord_1/events/1", OTHER),
            (Method::GET, "/", OTHER),
        ] {
            assert_eq!(operations.name(&verb, path), name, "{verb} {path}");
        }
    }
}
