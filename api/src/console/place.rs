//! Placing a test order, in local mode: any merchant, any of the test cards.

use maud::{Markup, html};
use poem::http::{HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;
use workflows::{PaymentMethod, Role};

use super::client::{Told, escaped, with_query};
use super::layout::{Page, choice, problem_if, proof, see};
use super::text::Text;
use super::views::{List, Merchant, Product};
use super::visit::Visit;
use super::{Answer, Console, format, nothing_here};

pub(super) async fn page(console: &Console, visit: &Visit, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    if !console.local || !matches!(visit.role(), Some(Role::Customer | Role::Operator)) {
        return Err(nothing_here(visit).into());
    }
    let merchants: List<Merchant> = api.get("/v1/merchants").await?;
    let asked = visit.query.given("merchant").or(visit.form.given("merchant_id"));
    let chosen =
        merchants.items.iter().find(|merchant| asked == Some(merchant.id.as_str())).or(merchants.items.first());
    let products = match chosen {
        Some(merchant) => {
            let path = format!("/v1/merchants/{}/products", escaped(&merchant.id));
            api.get::<List<Product>>(&path).await
        }
        None => Ok(List { items: Vec::new() }),
    };
    let title = visit.say(Text::PlaceOrder);
    let content = html! {
        div.bar { h1 { (title) } p.hint { (visit.say(Text::PlaceIntroduction)) } }
        nav.tabs aria-label=(visit.say(Text::ChooseMerchant)) {
            @for merchant in &merchants.items {
                a href=(with_query("/place", &[("merchant", Some(&merchant.id))])) aria-current=[(chosen.is_some_and(|chosen| chosen.id == merchant.id)).then_some("true")] {
                    (merchant.name)
                }
            }
        }
        (problem_if(visit, trouble))
        @match (chosen, &products) {
            (Some(merchant), Ok(products)) if !products.items.is_empty() => (form(visit, merchant, &products.items)),
            (_, Err(told)) => (problem_if(visit, Some(told))),
            _ => p.nothing { (visit.say(Text::NoProducts)) },
        }
    };
    let trouble = trouble.or(products.as_ref().err());
    Ok(Page::new("/place", title, content).troubled(trouble).respond(console, visit))
}

fn form(visit: &Visit, merchant: &Merchant, products: &[Product]) -> Markup {
    // Sent twice, it is one order; whoever mends it sends another one.
    let key = Uuid::now_v7().to_string();
    let typed = |name: &str, usual: &str| visit.form.given(name).unwrap_or(usual).to_owned();
    html! {
        form.order-form method="post" action="/place" {
            (proof(visit))
            input type="hidden" name="merchant_id" value=(merchant.id);
            input type="hidden" name="key" value=(key);
            input type="hidden" name="currency" value=(merchant.currency.code());
            fieldset.panel {
                legend { (visit.say(Text::Products)) }
                ul.choose {
                    @for (n, product) in products.iter().enumerate() { (line(visit, product, n == 0)) }
                }
                span #how-many.hidden { (visit.say(Text::HowMany)) }
            }
            fieldset.panel.grid {
                legend { (visit.say(Text::Customer)) }
                div {
                    label for="name" { (visit.say(Text::Name)) }
                    input #name name="name" required maxlength="100" value=(typed("name", "Kim Minji"));
                }
                div {
                    label for="phone" { (visit.say(Text::Phone)) }
                    input #phone name="phone" type="tel" required maxlength="40" value=(typed("phone", "+82 10 1234 5678"));
                }
                div.wide {
                    label for="address" { (visit.say(Text::Address)) }
                    input #address name="address" required maxlength="300" value=(typed("address", "12 Sejong-daero, Seoul"));
                }
                div.wide {
                    label for="note" { (visit.say(Text::Note)) }
                    input #note name="note" maxlength="500" value=(typed("note", ""));
                }
            }
            fieldset.panel {
                legend { (visit.say(Text::Payment)) }
                (payment(visit, merchant))
                p { button.primary.large { (visit.say(Text::PlaceIt)) } }
            }
        }
    }
}

fn line(visit: &Visit, product: &Product, first: bool) -> Markup {
    let field = format!("quantity.{}", product.sku);
    let usual = if first && !visit.form.has("merchant_id") { "1" } else { "0" };
    let quantity = visit.form.given(&field).unwrap_or(usual);
    html! {
        li {
            label for=(field) { b { (product.name) } " " span.hint { (format::money(product.unit_price)) } }
            span.hint {
                @match product.available {
                    Some(pieces) => { (visit.say(Text::Available)) " " (format::count(pieces)) }
                    None => (visit.say(Text::NotCounted)),
                }
            }
            // At another price it is another order.
            input type="hidden" name={ "price." (product.sku) } value=(product.unit_price.amount);
            input id=(field) name=(field) type="number" min="0" max="999" value=(quantity) aria-describedby="how-many";
        }
    }
}

fn payment(visit: &Visit, merchant: &Merchant) -> Markup {
    let cards = [
        ("tok_ok", Text::CardOk),
        ("tok_declined", Text::CardDeclined),
        ("tok_flaky_2", Text::CardFlaky),
        ("tok_slow_2000", Text::CardSlow),
        ("tok_lost_reply", Text::CardLostReply),
    ];
    let named = cards.map(|(token, text)| (token, format!("{} ({token})", visit.say(text))));
    let options: Vec<_> = named.iter().map(|(token, text)| (*token, text.as_str())).collect();
    html! {
        @if merchant.lifecycle_document.payment.method == PaymentMethod::Card {
            label for="card" { (visit.say(Text::Card)) }
            (choice("card_token", "card", visit.form.given("card_token").unwrap_or("tok_ok"), &options))
        } @else {
            p { (visit.say(Text::BankTransfer)) }
        }
    }
}

pub(super) async fn place(console: &Console, visit: &Visit) -> Answer {
    let api = console.api(visit)?;
    if !console.local {
        return Err(nothing_here(visit).into());
    }
    let merchant_id = visit.form.text("merchant_id");
    let lines = lines(visit);
    if lines.is_empty() {
        let (title, detail) = (visit.say(Text::NothingChosen), visit.say(Text::NothingChosenDetail));
        let told = Told::own(StatusCode::UNPROCESSABLE_ENTITY, title, detail);
        return page(console, visit, Some(&told)).await;
    }
    let customer = ["name", "phone", "address"].map(|name| (name.to_owned(), visit.form.text(name).into()));
    let mut body = json!({
        "merchant_id": merchant_id,
        "customer": Value::Object(customer.into_iter().collect()),
        "lines": lines,
        "payment": match visit.form.given("card_token") {
            Some(token) => json!({ "method": "card", "card_token": token }),
            None => json!({ "method": "deposit" }),
        },
    });
    if let Some(total) = expected_total(visit) {
        body["expected_total"] = json!({ "amount": total, "currency": visit.form.text("currency") });
    }
    if let Some(note) = visit.form.given("note") {
        body["note"] = note.into();
    }
    let key = [(HeaderName::from_static("idempotency-key"), visit.form.text("key"))];
    let key = if visit.form.has("key") { key.as_slice() } else { &[] };
    match api.ask(Method::POST, "/v1/orders", key, Some(&body)).await {
        // Whether it stands or is not decided yet, its page says.
        Ok(response) => {
            let id = response.header(header::LOCATION.as_str()).and_then(|path| path.rsplit('/').next());
            Ok(see(&id.map_or("/".to_owned(), |id| format!("/orders/{}", escaped(id)))))
        }
        Err(told) => page(console, visit, Some(&told)).await,
    }
}

/// What the lines come to at the prices that were shown; `None` where they make no sum.
fn expected_total(visit: &Visit) -> Option<i64> {
    if !visit.form.has("currency") {
        return None;
    }
    let mut total = 0_i64;
    for (sku, quantity) in visit.form.beginning("quantity.").filter(|(_, quantity)| !matches!(*quantity, "" | "0")) {
        let price: i64 = visit.form.given(&format!("price.{sku}"))?.parse().ok()?;
        total = total.checked_add(price.checked_mul(quantity.parse().ok()?)?)?;
    }
    Some(total)
}

/// What is wanted of what; what is no quantity goes to the API as it is, which says so.
fn lines(visit: &Visit) -> Vec<Value> {
    let wanted = visit.form.beginning("quantity.").filter(|(_, quantity)| !matches!(*quantity, "" | "0"));
    let line = |(sku, quantity): (&str, &str)| {
        let quantity = quantity.parse::<i64>().map_or_else(|_| Value::from(quantity), Value::from);
        json!({ "sku": sku, "quantity": quantity })
    };
    wanted.map(line).collect()
}
