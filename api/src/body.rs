//! JSON bodies. What is wrong with one is said by the name of the field, and its value is not repeated.

use poem::{Request, RequestBody};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::explain;

/// A body that has to be there.
pub(crate) struct Body<T>(pub T);

/// A body that may be left out, with or without a Content-Type.
pub(crate) struct Maybe<T>(pub Option<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(true))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let text = body.take()?.into_vec().await?;
        read(request, &text).map(Self)
    }
}

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Maybe<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(false))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let text = body.take()?.into_vec().await?;
        if text.is_empty() { Ok(Self(None)) } else { read(request, &text).map(Some).map(Self) }
    }
}

fn meta<T: ParseFromJSON>(required: bool) -> MetaRequest {
    let content = vec![MetaMediaType { content_type: Json::<T>::CONTENT_TYPE, schema: T::schema_ref() }];
    MetaRequest { description: None, content, required }
}

fn read<T: ParseFromJSON>(request: &Request, text: &[u8]) -> poem::Result<T> {
    match request.content_type() {
        Some(content_type) if Json::<T>::check_content_type(content_type) => {}
        Some(other) => return Err(ContentTypeError::NotSupported { content_type: other.to_owned() }.into()),
        None => return Err(ContentTypeError::ExpectContentType.into()),
    }
    let json: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| ParseRequestPayloadError { reason: format!("it is no JSON: {error}") })?;
    T::parse_from_json(Some(json.clone())).map_err(|error| {
        let reason = explain::violation::<T>(&json).unwrap_or_else(|| error.into_message());
        ParseRequestPayloadError { reason }.into()
    })
}
