//! A JSON body that may be left out, with or without a Content-Type.

use poem::{Request, RequestBody};
use poem_openapi::error::{ContentTypeError, ParseRequestPayloadError};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

pub(crate) struct Maybe<T>(pub Option<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for Maybe<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: Json::<T>::CONTENT_TYPE, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let text = body.take()?.into_vec().await?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        match request.content_type() {
            Some(content_type) if Json::<T>::check_content_type(content_type) => {}
            Some(other) => return Err(ContentTypeError::NotSupported { content_type: other.to_owned() }.into()),
            None => return Err(ContentTypeError::ExpectContentType.into()),
        }
        let reason = match serde_json::from_slice(&text) {
            Ok(json) => match T::parse_from_json(Some(json)) {
                Ok(value) => return Ok(Self(Some(value))),
                Err(error) => error.into_message(),
            },
            Err(error) => error.to_string(),
        };
        Err(ParseRequestPayloadError { reason }.into())
    }
}
