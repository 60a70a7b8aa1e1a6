//! Signing in, with a token or, in local mode, by choosing a role; and out; and the language.

use maud::{Markup, html};
use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use workflows::{MerchantId, Role};

use super::client::{Api, Told};
use super::labels::Label;
use super::layout::{Page, good, problem_if, proof, see};
use super::session::{self, LONGEST_TOKEN, local};
use super::text::Text;
use super::views::{List, Merchant};
use super::visit::{self, Visit};
use super::{Answer, Console, Trouble, nothing_here};
use crate::Principal;
use crate::access::Caller;
use crate::problem::Problem;

/// Who they are unless they say otherwise.
const fn usual_name(role: Role) -> &'static str {
    match role {
        Role::Operator => "ops",
        Role::Merchant => "owner",
        Role::Courier => "park",
        Role::Customer => "minji",
    }
}

pub(super) async fn page(console: &Console, visit: &Visit, trouble: Option<&Told>) -> Answer {
    let next = local(visit.query.given("next").or(visit.form.given("next")).unwrap_or("/"));
    let roles = if may_choose(console, visit) { Some(merchants(console, visit).await) } else { None };
    let content = html! {
        div.narrow {
            h1 { "jumun" }
            p.lead { (visit.say(Text::SignInIntroduction)) }
            @match visit.query.text("why") {
                "over" if trouble.is_none() => (good(visit.say(Text::SessionOver))),
                "out" if trouble.is_none() => (good(visit.say(Text::SignedOut))),
                _ => {}
            }
            (problem_if(visit, trouble))
            @if let Some(merchants) = roles { (choose(visit, next, &merchants)) }
            (paste(visit, next, console.mint.is_none()))
        }
    };
    let page = Page::new("/sign-in", visit.say(Text::SignIn), content).troubled(trouble);
    Ok(page.respond(console, visit))
}

fn choose(visit: &Visit, next: &str, merchants: &[Merchant]) -> Markup {
    html! {
        section.panel aria-labelledby="choose" {
            h2 #choose { (visit.say(Text::ChooseRole)) }
            p.hint { (visit.say(Text::ChooseRoleHint)) }
            ul.roles {
                @for role in [Role::Operator, Role::Merchant, Role::Courier, Role::Customer] {
                    li { (role_form(visit, next, role, merchants)) }
                }
            }
        }
    }
}

fn role_form(visit: &Visit, next: &str, role: Role, merchants: &[Merchant]) -> Markup {
    let id = role.as_str();
    let name = role.label(visit.language);
    html! {
        form method="post" action="/sign-in" aria-label=(name) {
            (proof(visit))
            input type="hidden" name="next" value=(next);
            input type="hidden" name="role" value=(id);
            @if role == Role::Merchant {
                label for="merchant" { (visit.say(Text::WhichMerchant)) }
                select #merchant name="merchant" required {
                    @for merchant in merchants {
                        option value=(merchant.id) { (merchant.name) " · " (merchant.lifecycle) }
                    }
                }
                input type="hidden" name="name" value=(usual_name(role));
            } @else {
                label for={ "name-" (id) } { (visit.say(Text::YourName)) }
                input id={ "name-" (id) } name="name" value=(usual_name(role)) required maxlength="60" autocomplete="off";
            }
            button.primary { (Text::AsRole.with(visit.language, &[name])) }
        }
    }
}

fn paste(visit: &Visit, next: &str, alone: bool) -> Markup {
    let form = html! {
        form.stacked method="post" action="/sign-in" {
            (proof(visit))
            input type="hidden" name="next" value=(next);
            label for="token" { (visit.say(Text::Token)) }
            textarea #token name="token" rows="4" required spellcheck="false" autocomplete="off" aria-describedby="token-hint" {}
            p.hint #token-hint { (visit.say(Text::TokenHint)) }
            button.primary { (visit.say(Text::SignIn)) }
        }
    };
    html! {
        section.panel {
            @if alone {
                h2 { (visit.say(Text::PasteToken)) }
                (form)
            } @else {
                details open[visit.form.has("token")] {
                    summary { (visit.say(Text::PasteToken)) }
                    (form)
                }
            }
        }
    }
}

fn may_choose(console: &Console, visit: &Visit) -> bool {
    console.mint.is_some() && visit.of_this_machine
}

/// The merchants that there are, asked as an operator, whom anybody may be here.
async fn merchants(console: &Console, visit: &Visit) -> Vec<Merchant> {
    let Ok(principal) = Principal::new(Role::Operator, "console", None) else { return Vec::new() };
    let Ok((_, caller)) = minted(console, &principal).await else { return Vec::new() };
    let api = Api { endpoint: console.api.clone(), caller, language: visit.language };
    api.get::<List<Merchant>>("/v1/merchants").await.map(|list| list.items).unwrap_or_default()
}

async fn minted(console: &Console, principal: &Principal) -> Result<(String, Caller), Problem> {
    let mint = console.mint.as_ref().ok_or_else(|| Problem::unauthenticated("Roles cannot be chosen here."))?;
    let token = mint(principal);
    let caller = console.access.caller(&token).await?;
    Ok((token, caller))
}

pub(super) async fn begin(console: &Console, visit: &Visit) -> Answer {
    match signed_in(console, visit).await {
        Ok((token, caller)) => {
            let cookie = session::begin(&token, caller.good_for(), visit.secure);
            Ok(with_cookie(see(local(visit.form.text("next"))), &cookie))
        }
        Err(told) => Box::pin(page(console, visit, Some(&told))).await,
    }
}

/// The token, and whose it is.
async fn signed_in(console: &Console, visit: &Visit) -> Result<(String, Caller), Told> {
    let refused = |text| Told::own(StatusCode::UNPROCESSABLE_ENTITY, visit.say(Text::SignIn), visit.say(text));
    let known = if let Some(role) = visit.form.given("role") {
        if !may_choose(console, visit) {
            return Err(refused(Text::NotMintedHere));
        }
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
        let merchant_id = visit.form.given("merchant").and_then(|id| id.parse::<MerchantId>().ok());
        let principal = role.map(|role| Principal::new(role, visit.form.text("name"), merchant_id));
        match principal {
            Some(Ok(principal)) => minted(console, &principal).await,
            Some(Err(invalid)) => Err(Problem::unauthenticated(format!("That is nobody: {invalid}."))),
            None => Err(Problem::unauthenticated("There is no such role.")),
        }
    } else {
        let token = visit.form.text("token");
        let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
        if token.len() > LONGEST_TOKEN {
            return Err(refused(Text::TokenTooLong));
        }
        console.access.caller(token).await.map(|caller| (token.to_owned(), caller))
    };
    match known {
        Ok(known) => Ok(known),
        Err(problem) => Err(Told::read(poem::IntoResponse::into_response(problem)).await),
    }
}

pub(super) fn end(visit: &Visit) -> Response {
    with_cookie(see("/sign-in?why=out"), &session::end(visit.secure))
}

/// Chooses the language, and goes back.
pub(super) fn language(visit: &Visit, code: &str) -> Answer {
    let language = visit::of_code(code).ok_or_else(|| Trouble::from(nothing_here(visit)))?;
    let cookie = session::language(visit::code(language), visit.secure);
    Ok(with_cookie(see(local(visit.query.text("next"))), &cookie))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    // A token that was good is made of characters that a header may have.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
