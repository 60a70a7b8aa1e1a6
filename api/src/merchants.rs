//! `/v1/merchants`: who sells, and how their orders live.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use workflows::audit::Act;
use workflows::merchant::{self, MerchantPut, Merchants};
use workflows::{Currency, Lifecycle, MerchantId, Role};

use crate::access::Caller;
use crate::ask::ask;
use crate::audit::Trail;
use crate::body::Body;
use crate::json::List;
use crate::lifecycles::LifecycleChoice;
use crate::problem::{Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, MerchantName};

pub(crate) struct MerchantsApi {
    pub merchants: Arc<dyn Merchants>,
    pub trail: Trail,
}

refusals! {
    PutMerchant: InvalidRequest, Forbidden, RequestTimeout, BodyTooLarge, UnsupportedMediaType, UnknownLifecycle, InvalidLifecycle, TryAgainLater;
    ListMerchants: TryAgainLater;
    GetMerchant: NotFound, TryAgainLater;
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
    /// The lifecycle of orders placed from now on, by name.
    lifecycle: String,
    /// The same as a whole.
    lifecycle_document: Checked<Lifecycle>,
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
            lifecycle: merchant.lifecycle.name.clone(),
            lifecycle_document: Checked(merchant.lifecycle),
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
        caller: Caller,
        /// The merchant's id, which the caller chooses.
        merchant_id: Path<Checked<MerchantId>>,
        body: Body<MerchantBody>,
    ) -> Result<MerchantSaved, Refused<PutMerchant>> {
        caller.must_be(&[Role::Operator])?;
        let Body(body) = body;
        let lifecycle = body.lifecycle.0.lifecycle()?;
        let put = MerchantPut { id: merchant_id.0.0, name: body.name.0.0, currency: body.currency.0, lifecycle };
        let act = Act { merchant_id: Some(put.id.clone()), ..Act::new(caller.actor(), "put_merchant") };
        let saved = async { Ok(ask("merchants.put", self.merchants.put(&put)).await?) };
        let (merchant, created) = self.trail.of(act, saved).await?;
        let location = format!("/v1/merchants/{}", merchant.id);
        let merchant = Json(merchant.into());
        Ok(if created { MerchantSaved::Created(merchant, location) } else { MerchantSaved::Replaced(merchant) })
    }

    /// List merchants
    ///
    /// All of them, by id.
    #[oai(path = "/", method = "get", operation_id = "list_merchants")]
    async fn list(&self, _caller: Caller) -> Result<Json<List<Merchant>>, Refused<ListMerchants>> {
        let merchants = ask("merchants.list", self.merchants.list()).await?;
        Ok(Json(merchants.into_iter().map(Merchant::from).collect()))
    }

    /// Read a merchant
    #[oai(path = "/:merchant_id", method = "get", operation_id = "get_merchant")]
    async fn get(
        &self,
        _caller: Caller,
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
