//! Who calls, and what they may see. Every route under `/v1` takes a bearer token (JWT) and nothing else: who has none, or
//! a bad one, learns nothing. What a role may do stands at each handler; whose an order is, in `rights`.

mod jwks;
mod rights;
mod token;

use std::sync::Arc;
use std::time::Duration;

use poem::http::header;
use poem::{Endpoint, Request, RequestBody, Response};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::time::Instant;
use workflows::order::{Actor, Order, OrderFilter};
use workflows::{MerchantId, Role};

use crate::console;
use crate::kind::Kind;
use crate::problem::Problem;

pub use jwks::InvalidJwks;
pub use token::{AUDIENCE, Access, Algorithm, ISSUER, InvalidPrincipal, Key, Principal, ShortKey, TokenKey};

use rights::Sight;
use token::Known;

const SCHEME: &str = "bearer";

/// Who calls, by the token that came with the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Known>);

impl Caller {
    pub(crate) fn role(&self) -> Role {
        self.0.principal.role()
    }

    pub(crate) fn subject(&self) -> &str {
        self.0.principal.subject()
    }

    /// The merchant for whom a caller of role merchant acts.
    pub(crate) fn merchant_id(&self) -> Option<&MerchantId> {
        self.0.principal.merchant_id()
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor { role: self.role(), subject: self.subject().to_owned() }
    }

    /// For how long its token is good still.
    pub(crate) fn good_for(&self) -> Duration {
        self.0.expires_at.saturating_duration_since(Instant::now())
    }

    /// What tells this caller from every other: role and subject.
    pub(crate) fn name(&self) -> String {
        format!("{}\n{}", self.role(), self.subject())
    }

    /// Refuses everybody who acts in none of `roles`.
    pub(crate) fn must_be(&self, roles: &[Role]) -> Result<(), Problem> {
        if roles.contains(&self.role()) {
            return Ok(());
        }
        let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        Err(forbidden(format!(
            "This is for the role {}; the token is for the role {}.",
            roles.join(" or "),
            self.role()
        )))
    }

    /// Refuses everybody but operators and this merchant. Merchants are public, so that is said and not hidden.
    pub(crate) fn must_act_for(&self, merchant_id: &MerchantId) -> Result<(), Problem> {
        self.must_be(&[Role::Merchant, Role::Operator])?;
        match self.merchant_id() {
            Some(own) if own != merchant_id => {
                Err(forbidden(format!("This is merchant {merchant_id}'s; the token is merchant {own}'s.")))
            }
            _ => Ok(()),
        }
    }

    /// The merchant to whose data a list is narrowed: a merchant sees its own, an operator all or the one asked for.
    pub(crate) fn narrowed(&self, asked: Option<MerchantId>) -> Result<Option<MerchantId>, Problem> {
        self.must_be(&[Role::Merchant, Role::Operator])?;
        if let Some(asked) = &asked {
            self.must_act_for(asked)?;
        }
        Ok(asked.or_else(|| self.merchant_id().cloned()))
    }

    /// Whether the order is the caller's to see. Whose it is otherwise, or whether it is at all, is not told.
    pub(crate) fn sees(&self, order: &Order) -> bool {
        Sight::of(self).includes(order)
    }

    /// Narrows `filter` to orders that are the caller's to see; `None` where it asks for somebody else's.
    pub(crate) fn narrow(&self, filter: OrderFilter) -> Option<OrderFilter> {
        Sight::of(self).narrow(filter)
    }
}

fn forbidden(detail: String) -> Problem {
    Problem::new(Kind::Forbidden, detail)
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "A JSON Web Token with `sub` (who), `role` (`customer`, `merchant`, `courier` or `operator`), for \
                     merchants `merchant_id`, and `iss`, `aud` and `exp`. In local mode `jumun token` mints one.",
                ),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        request.extensions().get::<Self>().cloned().ok_or_else(|| Problem::unauthenticated("No token came.").into())
    }
}

impl Access {
    /// Who calls with that token.
    pub(crate) async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        Ok(Caller(Arc::new(self.known(token).await?)))
    }
}

/// Lets nobody past who does not show a good token, but for the open routes: those outside `/v1`. The console finds out
/// who asks by its cookie, which nothing under `/v1` looks at.
pub(crate) async fn authenticated<E: Endpoint<Output = Response>>(
    access: Arc<Access>,
    next: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    if is_protected(request.uri().path()) {
        let caller = access.caller(bearer(&request)?).await?;
        request.extensions_mut().insert(caller);
    } else if console::is_page(request.uri().path())
        && let Some(token) = console::token(&request).map(str::to_owned)
    {
        match access.caller(&token).await {
            Ok(caller) => {
                request.extensions_mut().insert(console::Session::new(caller.clone(), &token));
                request.extensions_mut().insert(caller);
            }
            // Whoever it was signs in again.
            Err(problem) if problem.kind() == Kind::Unauthenticated => {}
            Err(problem) => return Err(problem.into()),
        }
    }
    next.call(request).await
}

/// Whether it is under `/v1`.
pub(crate) fn is_protected(path: &str) -> bool {
    path.trim_start_matches('/').split('/').next() == Some("v1")
}

/// The token, from exactly one `Authorization` header.
fn bearer(request: &Request) -> Result<&str, Problem> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION).into_iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(Problem::unauthenticated("Send one header `Authorization: Bearer <token>`."));
    };
    let token = header.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, token)| {
        scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim()).filter(|token| !token.is_empty())
    });
    token.ok_or_else(|| Problem::unauthenticated("The header `Authorization` is not `Bearer <token>`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_under_v1_is_protected() {
        for path in ["/v1", "/v1/", "/v1/orders", "//v1/orders"] {
            assert!(is_protected(path), "{path}");
        }
        for path in ["/", "/livez", "/docs", "/v10", "/openapi.json", "/metrics"] {
            assert!(!is_protected(path), "{path}");
        }
    }

    #[test]
    fn one_bearer_token_is_wanted() {
        let request = |values: &[&str]| {
            values.iter().fold(Request::builder(), |request, value| request.header("authorization", *value)).finish()
        };
        assert_eq!(bearer(&request(&["bearer  a.b.c "])).ok(), Some("a.b.c"));
        for wrong in [&[][..], &["a.b.c"], &["Basic a.b.c"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer a"]] {
            assert!(bearer(&request(wrong)).is_err(), "{wrong:?}");
        }
    }
}
