//! Merchants: who sells, what, and how their orders live.

use maud::{Markup, html};
use poem::http::StatusCode;
use serde_json::{Value, json};
use workflows::{Currency, Lifecycle, Role, Status};

use super::client::{Told, escaped, with_query};
use super::labels::Label;
use super::layout::{Page, choice, good, problem, problem_if, proof, see, status};
use super::text::Text;
use super::views::{List, Merchant, Preview, Product};
use super::visit::Visit;
use super::{Answer, Console, diagram, edit, format};

pub(super) async fn list(console: &Console, visit: &Visit, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    // A merchant has one shop to look at.
    if let Some(own) = visit.own_merchant() {
        return Ok(see(&format!("/merchants/{}", escaped(own.as_str()))));
    }
    let merchants: List<Merchant> = api.get("/v1/merchants").await?;
    let presets = edit::presets(&api).await;
    let title = visit.say(Text::Merchants);
    let content = html! {
        div.bar { h1 { (title) } }
        ul.tiles {
            @for merchant in &merchants.items {
                li {
                    a.tile href={ "/merchants/" (merchant.id) } {
                        b { (merchant.name) }
                        span.hint { (merchant.id) " · " (merchant.lifecycle) " · " (merchant.currency.code()) }
                    }
                }
            }
        }
        @if visit.is(Role::Operator) { (creation(visit, &presets, trouble)) }
    };
    Ok(Page::new("/merchants", title, content).troubled(trouble).respond(console, visit))
}

fn creation(visit: &Visit, presets: &[Lifecycle], trouble: Option<&Told>) -> Markup {
    let presets: Vec<_> = presets.iter().map(|preset| (preset.name.as_str(), preset.name.as_str())).collect();
    let currency = visit.form.given("currency").unwrap_or("KRW");
    html! {
        section.panel aria-labelledby="new" {
            h2 #new { (visit.say(Text::NewMerchant)) }
            (problem_if(visit, trouble))
            form.grid method="post" action="/merchants" {
                (proof(visit))
                div {
                    label for="id" { (visit.say(Text::MerchantId)) }
                    input #id name="id" required maxlength="63" pattern="[a-z0-9\\-]+" value=(visit.form.text("id")) aria-describedby="id-hint";
                    p.hint #id-hint { (visit.say(Text::MerchantIdHint)) }
                }
                div {
                    label for="name" { (visit.say(Text::Name)) }
                    input #name name="name" required maxlength="200" value=(visit.form.text("name"));
                }
                div {
                    label for="currency" { (visit.say(Text::Currency)) }
                    input #currency name="currency" required maxlength="3" value=(currency);
                }
                div {
                    label for="preset" { (visit.say(Text::Lifecycle)) }
                    (choice("lifecycle", "preset", visit.form.text("lifecycle"), &presets))
                }
                button.primary { (visit.say(Text::Create)) }
            }
        }
    }
}

pub(super) async fn create(console: &Console, visit: &Visit) -> Answer {
    let api = console.api(visit)?;
    let form = &visit.form;
    let body = json!({
        "name": form.text("name"),
        "currency": form.text("currency").to_uppercase(),
        "lifecycle": form.text("lifecycle"),
    });
    let path = format!("/merchants/{}", escaped(form.text("id")));
    // What is there is edited on its own page, and never replaced from here: nor where it is not known whether it is.
    let there = match api.get::<Merchant>(&format!("/v1{path}")).await {
        Ok(_) => Some(Told::own(
            StatusCode::CONFLICT,
            visit.say(Text::MerchantExists),
            visit.say(Text::MerchantExistsDetail),
        )),
        Err(told) if told.status == StatusCode::NOT_FOUND => None,
        Err(told) => Some(told),
    };
    if let Some(told) = there {
        return list(console, visit, Some(&told)).await;
    }
    match api.put::<Value>(&format!("/v1{path}"), &body).await {
        Ok(_) => Ok(see(&format!("{path}?saved"))),
        Err(told) => list(console, visit, Some(&told)).await,
    }
}

pub(super) async fn page(console: &Console, visit: &Visit, id: &str, trouble: Option<&Told>) -> Answer {
    let api = console.api(visit)?;
    let path = format!("/v1/merchants/{}", escaped(id));
    let merchant: Merchant = api.get(&path).await?;
    let (products_path, document) = (format!("{path}/products"), json!(merchant.lifecycle_document));
    let (products, preview) = tokio::join!(
        api.get::<List<Product>>(&products_path),
        api.post::<Preview>("/v1/lifecycles/preview", &document)
    );
    let edits = visit.is(Role::Operator) || visit.own_merchant().is_some_and(|own| own.as_str() == merchant.id);
    let document = serde_json::to_string_pretty(&merchant.lifecycle_document).unwrap_or_default();
    let content = html! {
        div.bar {
            h1 { (merchant.name) }
            p.hint { (merchant.id) " · " (merchant.currency.code()) }
            @if visit.keeps_shop() {
                a.plain href=(with_query("/", &[("merchant", Some(&merchant.id))])) { (visit.say(Text::Board)) }
            }
            @if console.local && matches!(visit.role(), Some(Role::Customer | Role::Operator)) {
                a.plain href=(with_query("/place", &[("merchant", Some(&merchant.id))])) {
                    (visit.say(Text::PlaceOrder))
                }
            }
        }
        @if visit.query.has("saved") && trouble.is_none() { (good(visit.say(Text::Saved))) }
        div.sheet {
            div.main {
                section.panel aria-labelledby="products" {
                    h2 #products { (visit.say(Text::Products)) }
                    @match &products {
                        Ok(products) if edits => (editable(visit, &merchant, &products.items, trouble)),
                        Ok(products) => (plain(visit, &products.items)),
                        Err(told) => (problem(visit, told)),
                    }
                }
                @if let Ok(preview) = &preview { (rules(visit, preview)) }
            }
            div.side {
                section.panel aria-labelledby="lifecycle" {
                    h2 #lifecycle { (visit.say(Text::Lifecycle)) " " span.code { (merchant.lifecycle) } }
                    @match &preview {
                        Ok(preview) => (diagram::of_lifecycle(visit, &merchant.lifecycle, preview)),
                        Err(told) => (problem(visit, told)),
                    }
                    @if edits {
                        p {
                            a.button href={ "/merchants/" (merchant.id) "/lifecycle" } { (visit.say(edit::title(visit))) }
                        }
                    }
                    details {
                        summary { (visit.say(Text::AsDocument)) }
                        pre tabindex="0" { (document) }
                    }
                }
            }
        }
    };
    Ok(Page::new("/merchants", merchant.name.clone(), content).troubled(trouble).respond(console, visit))
}

/// Gates and cancels of a lifecycle, as tables.
pub(super) fn rules(visit: &Visit, preview: &Preview) -> Markup {
    let language = visit.language;
    html! {
        section.panel aria-labelledby="gates" {
            h2 #gates { (visit.say(Text::GatesTable)) }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (visit.say(Text::AtStatus)) }
                            th scope="col" { (visit.say(Text::GateColumn)) }
                            th scope="col" { (visit.say(Text::WhoColumn)) }
                            th scope="col" { (visit.say(Text::WindowColumn)) }
                            th scope="col" { (visit.say(Text::OnTimeoutColumn)) }
                        }
                    }
                    tbody {
                        @for gate in &preview.gates {
                            tr {
                                td { (status(gate.status, gate.status.label(language))) }
                                td { (gate.gate.label(language)) }
                                td {
                                    @for (n, command) in gate.commands.iter().enumerate() {
                                        @if n > 0 { " / " }
                                        (command.command.label(language)) " (" (command.role.label(language)) ")"
                                    }
                                }
                                td {
                                    @match &gate.window {
                                        Some(window) => (format::window(window, language)),
                                        None => (visit.say(Text::ForEver)),
                                    }
                                }
                                td {
                                    @if let Some(then) = gate.on_timeout { (status(then, then.label(language))) } @else { "–" }
                                }
                            }
                        }
                    }
                }
            }
        }
        (cancels(visit, preview))
    }
}

fn cancels(visit: &Visit, preview: &Preview) -> Markup {
    let language = visit.language;
    html! {
        section.panel aria-labelledby="cancels" {
            h2 #cancels { (visit.say(Text::CancelTable)) }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (visit.say(Text::AtStatus)) }
                            th scope="col" { (visit.say(Text::WhoColumn)) }
                            th scope="col" { (visit.say(Text::Undoes)) }
                        }
                    }
                    tbody {
                        @for cancel in &preview.cancellation {
                            tr {
                                td { (status(cancel.status, cancel.status.label(language))) }
                                td {
                                    (cancel.by.iter().map(|role| role.label(language)).collect::<Vec<_>>().join(", "))
                                }
                                td {
                                    @if cancel.undoes.is_empty() { (visit.say(Text::Nothing)) }
                                    (cancel.undoes.iter().map(|undo| undo.label(language)).collect::<Vec<_>>().join(" → "))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn plain(visit: &Visit, products: &[Product]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th scope="col" { (visit.say(Text::Product)) }
                        th.number scope="col" { (visit.say(Text::UnitPrice)) }
                        th.number scope="col" { (visit.say(Text::Available)) }
                    }
                }
                tbody {
                    @for product in products {
                        tr {
                            td { (product.name) " " span.code { (product.sku) } }
                            td.number { (format::money(product.unit_price)) }
                            td.number { (counted(visit, product.available)) }
                        }
                    }
                }
            }
        }
    }
}

fn counted(visit: &Visit, pieces: Option<i64>) -> Markup {
    html! {
        @match pieces {
            Some(pieces) => (format::count(pieces)),
            None => span.hint { (visit.say(Text::NotCounted)) },
        }
    }
}

/// A form for each product, and one for a new one. Whichever was refused keeps what was typed.
fn editable(visit: &Visit, merchant: &Merchant, products: &[Product], trouble: Option<&Told>) -> Markup {
    let typed = |sku: &str| trouble.is_some() && visit.form.text("sku") == sku;
    let is_new = trouble.is_some() && !products.iter().any(|product| typed(&product.sku));
    html! {
        @for product in products {
            (product_form(visit, merchant, Some(product), trouble.filter(|_| typed(&product.sku))))
        }
        h3 { (visit.say(Text::AddProduct)) }
        (product_form(visit, merchant, None, trouble.filter(|_| is_new)))
    }
}

fn product_form(visit: &Visit, merchant: &Merchant, product: Option<&Product>, trouble: Option<&Told>) -> Markup {
    let key = product.map_or("new", |product| product.sku.as_str());
    let value = |name: &str, stored: String| if trouble.is_some() { visit.form.text(name).to_owned() } else { stored };
    let name = value("name", product.map(|product| product.name.clone()).unwrap_or_default());
    let price = value("unit_price", product.map(|product| format::plain(product.unit_price)).unwrap_or_default());
    let on_hand = product.and_then(|product| product.on_hand).map(|pieces| pieces.to_string());
    let shown_on_hand = value("on_hand_was", on_hand.clone().unwrap_or_default());
    let on_hand = value("on_hand", on_hand.unwrap_or_default());
    html! {
        form.product id={ "product-" (key) } method="post" action={ "/merchants/" (merchant.id) "/products" } {
            (proof(visit))
            @match product {
                Some(product) => {
                    input type="hidden" name="sku" value=(product.sku);
                    p.sku.code { (product.sku) }
                }
                None => div {
                    label for="sku-new" { (visit.say(Text::Sku)) }
                    input #sku-new name="sku" required maxlength="63" value=(value("sku", String::new()));
                },
            }
            div.wide {
                label for={ "name-" (key) } { (visit.say(Text::Name)) }
                input id={ "name-" (key) } name="name" required maxlength="200" value=(name);
            }
            div {
                label for={ "price-" (key) } { (visit.say(Text::UnitPrice)) " (" (merchant.currency.code()) ")" }
                input id={ "price-" (key) } name="unit_price" required inputmode="decimal" value=(price);
            }
            div {
                label for={ "on-hand-" (key) } { (visit.say(Text::OnHand)) }
                input type="hidden" name="on_hand_was" value=(shown_on_hand);
                input id={ "on-hand-" (key) } name="on_hand" inputmode="numeric" value=(on_hand)
                    placeholder=(visit.say(Text::OnHandHint));
            }
            p.held {
                @if let Some(product) = product.filter(|product| product.on_hand.is_some()) {
                    (visit.say(Text::Reserved)) " " b { (format::count(product.reserved)) } br;
                    (visit.say(Text::Available)) " " b { (counted(visit, product.available)) }
                }
            }
            button { (visit.say(Text::Save)) span.hidden { " " (key) } }
            (problem_if(visit, trouble))
        }
    }
}

pub(super) async fn save_product(console: &Console, visit: &Visit, id: &str) -> Answer {
    let api = console.api(visit)?;
    let path = format!("/merchants/{}", escaped(id));
    let merchant: Merchant = api.get(&format!("/v1{path}")).await?;
    let saved = match product(visit, merchant.currency) {
        Ok(mut body) => {
            let product = format!("/v1{path}/products/{}", escaped(visit.form.text("sku")));
            // Whoever corrects a price does not set back the stock to what it was when the page was made.
            let untouched =
                visit.form.has("on_hand_was") && visit.form.text("on_hand") == visit.form.text("on_hand_was");
            let stored = if untouched { api.get::<Product>(&product).await.ok() } else { None };
            if let Some(pieces) = stored.and_then(|product| product.on_hand) {
                body["on_hand"] = json!(pieces);
            }
            api.put::<Value>(&product, &body).await
        }
        Err(told) => Err(told),
    };
    match saved {
        Ok(_) => Ok(see(&format!("{path}?saved#product-{}", escaped(visit.form.text("sku"))))),
        Err(told) => page(console, visit, id, Some(&told)).await,
    }
}

/// What the form says of a product. What is no number is not the API's to judge: it is never asked.
fn product(visit: &Visit, currency: Currency) -> Result<Value, Told> {
    let form = &visit.form;
    let wrong = |field: Text| {
        let (title, detail) = (visit.say(Text::NotANumber), visit.say(field));
        Told::own(StatusCode::UNPROCESSABLE_ENTITY, title, detail)
    };
    let amount = format::minor_units(form.text("unit_price"), currency).ok_or_else(|| wrong(Text::UnitPrice))?;
    let mut body = json!({
        "name": form.text("name"),
        "unit_price": { "amount": amount, "currency": currency.code() },
    });
    if let Some(pieces) = form.given("on_hand") {
        let pieces: i64 = pieces.replace(',', "").parse().map_err(|_| wrong(Text::OnHand))?;
        body["on_hand"] = json!(pieces);
    }
    Ok(body)
}

/// The statuses up to which somebody may cancel, with what they are called.
pub(super) fn cancellable(visit: &Visit) -> Vec<(&'static str, &'static str)> {
    let open = Status::ALL.into_iter().filter(|status| *status < Status::Closed);
    open.map(|status| (status.as_str(), status.label(visit.language))).collect()
}
