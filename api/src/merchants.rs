//! `/v1/merchants` and `/v1/lifecycles`: who sells, and how their orders live.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi};
use workflows::merchant::{self, MerchantPut, Merchants};
use workflows::{Currency, Lifecycle, MerchantId};

use crate::ask::ask;
use crate::body::Body;
use crate::json::List;
use crate::kind::Kind;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, LifecycleName, MerchantName, Value, Written};

pub(crate) struct MerchantsApi {
    pub merchants: Arc<dyn Merchants>,
}

refusals! {
    PutMerchant: InvalidRequest, RequestTimeout, BodyTooLarge, UnsupportedMediaType, UnknownLifecycle, InvalidLifecycle, TryAgainLater;
    ListMerchants: TryAgainLater;
    GetMerchant: NotFound, TryAgainLater;
    GetLifecycle: NotFound;
}

/// What is said of a merchant.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct MerchantBody {
    /// What people call it.
    name: Checked<MerchantName>,
    /// The currency of its prices, in ISO 4217.
    currency: Checked<Currency>,
    /// The lifecycle of orders placed from now on: a preset's name, or a whole document like those of
    /// `GET /v1/lifecycles`.
    lifecycle: Checked<LifecycleChoice>,
}

/// A merchant.
#[derive(Object)]
struct Merchant {
    /// The merchant's id.
    id: Checked<MerchantId>,
    /// What people call it.
    name: String,
    /// The currency of its prices, in ISO 4217.
    currency: Checked<Currency>,
    /// The lifecycle of orders placed from now on.
    lifecycle: String,
    /// When it was put first.
    created_at: Checked<DateTime<Utc>>,
    /// When it was put last.
    updated_at: Checked<DateTime<Utc>>,
}

impl From<merchant::Merchant> for Merchant {
    fn from(merchant: merchant::Merchant) -> Self {
        Self {
            id: Checked(merchant.id),
            name: merchant.name,
            currency: Checked(merchant.currency),
            lifecycle: merchant.lifecycle.name,
            created_at: Checked(merchant.created_at),
            updated_at: Checked(merchant.updated_at),
        }
    }
}

#[derive(ApiResponse)]
enum MerchantSaved {
    /// The merchant was replaced. Its open orders keep the lifecycle that they were placed under.
    #[oai(status = 200)]
    Replaced(Json<Merchant>),
    /// The merchant is new.
    #[oai(status = 201)]
    Created(
        Json<Merchant>,
        /// Where the merchant can be read.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/v1/merchants", tag = "Tag::Merchants")]
impl MerchantsApi {
    /// Create or replace a merchant
    #[oai(path = "/:merchant_id", method = "put", operation_id = "put_merchant")]
    async fn put(
        &self,
        /// The merchant's id, which the caller chooses.
        merchant_id: Path<Checked<MerchantId>>,
        body: Body<MerchantBody>,
    ) -> Result<MerchantSaved, Refused<PutMerchant>> {
        let Body(body) = body;
        let lifecycle = body.lifecycle.0.lifecycle()?;
        let put = MerchantPut { id: merchant_id.0.0, name: body.name.0.0, currency: body.currency.0, lifecycle };
        let (merchant, created) = ask("merchants.put", self.merchants.put(&put)).await?;
        let location = format!("/v1/merchants/{}", merchant.id);
        let merchant = Json(merchant.into());
        Ok(if created { MerchantSaved::Created(merchant, location) } else { MerchantSaved::Replaced(merchant) })
    }

    /// List merchants
    ///
    /// All of them, by id.
    #[oai(path = "/", method = "get", operation_id = "list_merchants")]
    async fn list(&self) -> Result<Json<List<Merchant>>, Refused<ListMerchants>> {
        let merchants = ask("merchants.list", self.merchants.list()).await?;
        Ok(Json(merchants.into_iter().map(Merchant::from).collect()))
    }

    /// Read a merchant
    #[oai(path = "/:merchant_id", method = "get", operation_id = "get_merchant")]
    async fn get(
        &self,
        /// The merchant's id.
        merchant_id: Path<Checked<MerchantId>>,
    ) -> Result<Json<Merchant>, Refused<GetMerchant>> {
        Ok(Json(find(&*self.merchants, &merchant_id.0.0).await?.into()))
    }
}

/// The merchant of that id.
pub(crate) async fn find(merchants: &dyn Merchants, id: &MerchantId) -> Result<merchant::Merchant, Problem> {
    ask("merchants.read", merchants.get(id)).await?.ok_or_else(|| Problem::not_found(format_args!("merchant {id}")))
}

/// A lifecycle, by name or as a whole.
enum LifecycleChoice {
    Preset(String),
    Document(serde_json::Value),
}

impl LifecycleChoice {
    fn lifecycle(self) -> Result<Lifecycle, Problem> {
        let document = match self {
            Self::Preset(name) => return Lifecycle::preset(&name).cloned().ok_or_else(unknown_lifecycle),
            Self::Document(document) => document,
        };
        let lifecycle: Lifecycle =
            serde_json::from_value(document).map_err(|error| invalid_lifecycle(vec![error.to_string()]))?;
        let faults = lifecycle.faults();
        if faults.is_empty() { Ok(lifecycle) } else { Err(invalid_lifecycle(faults)) }
    }
}

impl Value for LifecycleChoice {
    const NAME: &'static str = "LifecycleChoice";
    const FORM: &'static str = "a preset's name, or a lifecycle";

    fn schema() -> MetaSchema {
        MetaSchema {
            description: Some("A preset's name, or a whole lifecycle."),
            one_of: vec![
                MetaSchemaRef::Inline(Box::new(MetaSchema { max_length: Some(100), ..MetaSchema::new("string") })),
                Checked::<Lifecycle>::schema_ref(),
            ],
            ..MetaSchema::ANY
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Preset(text.to_owned()))
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::String(name) => Self::from_text(name),
            serde_json::Value::Object(_) => Some(Self::Document(json.clone())),
            _ => None,
        }
    }
}

impl Written for LifecycleChoice {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Preset(name) => name.as_str().into(),
            Self::Document(document) => document.clone(),
        }
    }
}

fn invalid_lifecycle(faults: Vec<String>) -> Problem {
    Problem::new(Kind::InvalidLifecycle, format!("Mend the lifecycle and put it again: {}.", faults.join("; ")))
        .with(Members { faults: Some(faults), ..Members::default() })
}

fn unknown_lifecycle() -> Problem {
    let presets: Vec<_> = Lifecycle::presets().iter().map(|preset| preset.name.as_str()).collect();
    Problem::new(Kind::UnknownLifecycle, format!("The lifecycles are: {}.", presets.join(", ")))
}

pub(crate) struct LifecyclesApi;

#[OpenApi(prefix_path = "/v1/lifecycles", tag = "Tag::Lifecycles")]
impl LifecyclesApi {
    /// List lifecycles
    ///
    /// The presets: which steps an order goes through, who moves it, when it may be cancelled.
    #[oai(path = "/", method = "get", operation_id = "list_lifecycles")]
    async fn list(&self) -> Json<List<Checked<Lifecycle>>> {
        Json(Lifecycle::presets().iter().cloned().map(Checked).collect())
    }

    /// Read a lifecycle
    #[oai(path = "/:name", method = "get", operation_id = "get_lifecycle")]
    async fn get(
        &self,
        /// The lifecycle's name.
        name: Path<Checked<LifecycleName>>,
    ) -> Result<Json<Checked<Lifecycle>>, Refused<GetLifecycle>> {
        let LifecycleName(name) = name.0.0;
        let lifecycle = Lifecycle::preset(&name).cloned();
        Ok(Json(Checked(lifecycle.ok_or_else(|| Problem::not_found("lifecycle of that name"))?)))
    }
}

impl Value for Lifecycle {
    const NAME: &'static str = "Lifecycle";
    const FORM: &'static str = "a lifecycle";

    fn schema() -> MetaSchema {
        let described = |ty, description| {
            MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..MetaSchema::new(ty) }))
        };
        MetaSchema {
            description: Some("Which steps an order goes through, who moves it, when it may be cancelled."),
            required: vec!["name", "payment", "stock", "delivery"],
            properties: vec![
                ("name", described("string", "What it is called.")),
                (
                    "payment",
                    described(
                        "object",
                        "`method`: how its orders are paid; `deposit_window`: how long a deposit is waited for.",
                    ),
                ),
                ("stock", described("object", "`take`: when stock is taken.")),
                (
                    "acceptance",
                    described("object", "Whether the merchant accepts: `window`, and what happens `on_timeout`."),
                ),
                ("production", described("object", "Whether something is made: who says `start` and `finish`.")),
                ("coupon", described("string", "When a coupon is issued: `before_delivery` or `after_delivery`.")),
                (
                    "receipt",
                    described("object", "Whether the customer confirms: `window`, and what happens `on_timeout`."),
                ),
                ("delivery", described("object", "Who starts (`start`) and who completes (`complete`) the delivery.")),
                ("cancellation", described("object", "Per role, the last status at which it may still cancel.")),
                (
                    "unwind",
                    MetaSchemaRef::Inline(Box::new(MetaSchema {
                        description: Some("The order of undoing, by context; absent: the reverse of doing."),
                        items: Some(Box::new(String::schema_ref())),
                        ..MetaSchema::new("array")
                    })),
                ),
                ("steps", described("object", "Per step, how it is tried, where the default does not fit.")),
            ],
            ..MetaSchema::new("object")
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(json.clone()).ok()
    }
}

impl Written for Lifecycle {
    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a test of `workflows` writes every preset as JSON")
    }
}
