//! Editing a merchant's lifecycle: by fields or as a document, with every fault beside what it is about, and with what
//! orders would live through before it is saved. What is a fault is for the API to say.

use maud::{Markup, html};
use poem::Response;
use poem::http::StatusCode;
use serde_json::{Map, Value, json};
use workflows::lifecycle::Window;
use workflows::{Lifecycle, Role};

use super::client::{Api, Told, escaped, with_query};
use super::layout::{ENGLISH, Page, good, problem_if, proof, respond, see};
use super::text::Text;
use super::views::{List, Merchant, Preview};
use super::visit::{Fields, Visit};
use super::{Answer, Console, diagram, merchants};

/// A lifecycle on its way.
struct Draft {
    presets: Vec<Lifecycle>,
    document: Value,
    /// As it was typed, where it was typed as a document.
    text: Option<String>,
    /// What it would do, or what is wrong with it.
    judged: Result<Preview, Told>,
}

/// What one does here: only operators save a lifecycle, its merchant may try what another would do.
pub(super) fn title(visit: &Visit) -> Text {
    if visit.is(Role::Operator) { Text::EditLifecycle } else { Text::TryLifecycle }
}

pub(super) async fn page(console: &Console, visit: &Visit, id: &str) -> Answer {
    let api = console.api(visit)?;
    let merchant: Merchant = api.get(&format!("/v1/merchants/{}", escaped(id))).await?;
    let presets = presets(&api).await;
    let preset = presets.iter().find(|preset| visit.query.given("from") == Some(preset.name.as_str()));
    let document = json!(preset.unwrap_or(&merchant.lifecycle_document));
    let judged = api.post("/v1/lifecycles/preview", &document).await;
    Ok(shown(console, visit, &merchant, &Draft { presets, document, text: None, judged }, None))
}

/// Previews what the form says, or saves it.
pub(super) async fn save(console: &Console, visit: &Visit, id: &str) -> Answer {
    let api = console.api(visit)?;
    let path = format!("/v1/merchants/{}", escaped(id));
    let merchant: Merchant = api.get(&path).await?;
    let text = visit.form.given("document").map(str::to_owned);
    let document = match &text {
        Some(text) => serde_json::from_str(text).map_err(|error| malformed(visit, &error)),
        None => Ok(document(&visit.form)),
    };
    let (document, judged) = match document {
        Ok(document) => {
            let judged = api.post::<Preview>("/v1/lifecycles/preview", &document).await;
            (document, judged)
        }
        Err(told) => (json!(merchant.lifecycle_document), Err(told)),
    };
    let mut trouble = None;
    if visit.form.text("do") == "save" && judged.is_ok() {
        let body = json!({ "name": merchant.name, "currency": merchant.currency.code(), "lifecycle": document });
        match api.put::<Value>(&path, &body).await {
            Ok(_) => return Ok(see(&format!("/merchants/{}?saved", escaped(id)))),
            Err(told) => trouble = Some(told),
        }
    }
    let presets = presets(&api).await;
    Ok(shown(console, visit, &merchant, &Draft { presets, document, text, judged }, trouble.as_ref()))
}

/// The lifecycles that can be begun with.
pub(super) async fn presets(api: &Api) -> Vec<Lifecycle> {
    api.get::<List<Lifecycle>>("/v1/lifecycles").await.map(|list| list.items).unwrap_or_default()
}

fn malformed(visit: &Visit, error: &serde_json::Error) -> Told {
    let fault = error.to_string();
    let told = Told::own(StatusCode::UNPROCESSABLE_ENTITY, visit.say(Text::PreviewFaulty), &fault);
    Told { faults: vec![fault], ..told }
}

/// The document that the fields make of the one that they began with, of which they do not show everything.
fn document(form: &Fields) -> Value {
    let mut document: Map<String, Value> = serde_json::from_str(form.text("base")).unwrap_or_default();
    let mut put = |name: &str, value: Option<Value>| match value {
        Some(value) => drop(document.insert(name.to_owned(), value)),
        None => drop(document.remove(name)),
    };
    let given = |name: &str| form.given(name).map(Value::from);
    let awaited = |name: &str| {
        let on_timeout = given(&format!("{name}.on_timeout"))?;
        Some(json!({ "window": form.text(&format!("{name}.window")), "on_timeout": on_timeout }))
    };
    put("name", Some(form.text("name").into()));
    let mut payment = json!({ "method": form.text("payment.method") });
    if let Some(window) = given("payment.deposit_window") {
        payment["deposit_window"] = window;
    }
    put("payment", Some(payment));
    put("stock", Some(json!({ "take": form.text("stock.take") })));
    put("acceptance", awaited("acceptance"));
    put("production", given("production").map(|finish| json!({ "start": "merchant", "finish": finish })));
    put("coupon", given("coupon"));
    put("delivery", given("delivery").map(|start| json!({ "start": start, "complete": "courier" })));
    put("receipt", awaited("receipt"));
    let unwind: Vec<_> =
        form.text("unwind").split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
    put("unwind", Some(unwind).filter(|unwind| !unwind.is_empty()).map(|unwind| json!(unwind)));
    let mut cancellation = document.remove("cancellation").unwrap_or_else(|| json!({}));
    for role in [Role::Customer, Role::Merchant] {
        if let Some(cancellation) = cancellation.as_object_mut() {
            match given(&format!("cancellation.{role}")) {
                Some(last) => drop(cancellation.insert(role.to_string(), last)),
                None => drop(cancellation.remove(role.as_str())),
            }
        }
    }
    document.insert("cancellation".to_owned(), cancellation);
    Value::Object(document)
}

/// What is wrong with a draft, of which each fault is told once: beside its field, or else above all.
struct Faults<'a> {
    draft: &'a Value,
    all: &'a [String],
}

/// The fields, by the paths that faults begin with.
const FIELDS: [&str; 13] = [
    "name",
    "payment.method",
    "payment.deposit_window",
    "stock.take",
    "acceptance.window",
    "acceptance.on_timeout",
    "production",
    "coupon",
    "delivery",
    "receipt.window",
    "cancellation.customer",
    "cancellation.merchant",
    "unwind",
];

impl Faults<'_> {
    fn of(&self, field: &str) -> Vec<&str> {
        self.all.iter().filter(|fault| self.field(fault) == Some(field)).map(String::as_str).collect()
    }

    /// Whether the field is wrong, and the id of what is said of it.
    fn described(&self, field: &str) -> (Option<&'static str>, Option<String>) {
        let wrong = !self.of(field).is_empty();
        (wrong.then_some("true"), wrong.then(|| format!("fault-{field}")))
    }

    fn of_none(&self) -> Vec<&str> {
        self.all.iter().filter(|fault| self.field(fault).is_none()).map(String::as_str).collect()
    }

    /// Which field the fault is about.
    fn field(&self, fault: &str) -> Option<&'static str> {
        let path = fault.split(':').next().unwrap_or_default();
        if path == "cancellation" {
            // It names the status, and not the role whose it is.
            return ["cancellation.customer", "cancellation.merchant"].into_iter().find(|field| {
                let last = self.value(field).as_str();
                last.is_some_and(|last| fault.contains(&format!("`{last}`")))
            });
        }
        let named = FIELDS.into_iter().find(|field| *field == path);
        // A time span that cannot be read is a fault before the document is one.
        named.or_else(|| {
            FIELDS
                .into_iter()
                .find(|field| field.ends_with("window") && self.unreadable(field) == Some(fault.to_owned()))
        })
    }

    fn value(&self, field: &str) -> &Value {
        field.split('.').fold(self.draft, |value, part| &value[part])
    }

    fn unreadable(&self, field: &str) -> Option<String> {
        let window = self.value(field);
        if window.is_null() {
            None
        } else {
            serde_json::from_value::<Window>(window.clone()).err().map(|e| e.to_string())
        }
    }
}

fn shown(console: &Console, visit: &Visit, merchant: &Merchant, draft: &Draft, trouble: Option<&Told>) -> Response {
    let told = draft.judged.as_ref().err();
    let none = Vec::new();
    let faults = Faults { draft: &draft.document, all: told.map_or(&none, |told| &told.faults) };
    let content = html! {
        div #edit {
            (problem_if(visit, trouble))
            // What is no lifecycle's fault: that the form came from somebody who may not.
            (problem_if(visit, told.filter(|told| told.faults.is_empty())))
            div.sheet {
                div.main {
                    @if draft.text.is_some() { (as_document(visit, merchant, draft, &faults)) }
                    @else { (by_fields(visit, merchant, draft, &faults)) }
                }
                div.side {
                    section.panel aria-labelledby="preview" {
                        h2 #preview { (visit.say(Text::PreviewOf)) }
                        @match &draft.judged {
                            Ok(preview) => {
                                (good(visit.say(Text::PreviewGood)))
                                (diagram::of_lifecycle(visit, draft.document["name"].as_str().unwrap_or_default(), preview))
                            }
                            Err(_) => p.hint role="status" { (visit.say(Text::PreviewFaulty)) },
                        }
                    }
                }
            }
            @if let Ok(preview) = &draft.judged { (merchants::rules(visit, preview)) }
        }
    };
    let status = trouble.or(told).map_or(StatusCode::OK, |told| told.status);
    if visit.wants_only("edit") {
        return respond(status, &content);
    }
    let heading = visit.say(title(visit));
    let content = html! {
        div.bar {
            h1 { (heading) }
            p.hint { a href={ "/merchants/" (merchant.id) } { (merchant.name) } " · " (visit.say(Text::EditHint)) }
        }
        (starts(visit, merchant, &draft.presets))
        (content)
    };
    Page { status, ..Page::new("/merchants", format!("{heading} · {}", merchant.name), content) }
        .respond(console, visit)
}

/// Where one can begin: with what is, or with a preset; by fields, or as a document.
fn starts(visit: &Visit, merchant: &Merchant, presets: &[Lifecycle]) -> Markup {
    let path = format!("/merchants/{}/lifecycle", merchant.id);
    html! {
        p.starts {
            (visit.say(Text::StartFrom)) ": "
            a href=(path) { (merchant.lifecycle) }
            @for preset in presets.iter().filter(|preset| preset.name != merchant.lifecycle) {
                " · " a href=(with_query(&path, &[("from", Some(&preset.name))])) { (preset.name) }
            }
        }
    }
}

fn as_document(visit: &Visit, merchant: &Merchant, draft: &Draft, faults: &Faults) -> Markup {
    let pretty = || serde_json::to_string_pretty(&draft.document).unwrap_or_default();
    html! {
        section.panel aria-labelledby="document-title" {
            h2 #document-title { (visit.say(Text::EditDocument)) }
            (listed(visit, &faults.all.iter().map(String::as_str).collect::<Vec<_>>()))
            form.stacked method="post" action={ "/merchants/" (merchant.id) "/lifecycle" } {
                (proof(visit))
                label for="document" { (visit.say(Text::AsDocument)) }
                textarea #document.code name="document" rows="28" spellcheck="false" required aria-invalid=[(!faults.all.is_empty()).then_some("true")] {
                    (draft.text.clone().unwrap_or_else(pretty))
                }
                (buttons(visit))
            }
        }
    }
}

fn buttons(visit: &Visit) -> Markup {
    html! {
        p.buttons {
            button name="do" value="preview" { (visit.say(Text::Preview)) } " "
            @if visit.is(Role::Operator) { button.primary name="do" value="save" { (visit.say(Text::Save)) } }
        }
    }
}

fn listed(visit: &Visit, faults: &[&str]) -> Markup {
    html! {
        @if !faults.is_empty() {
            div.problem role="alert" {
                p { b { (visit.say(Text::PreviewFaulty)) } }
                ul lang=(ENGLISH) { @for fault in faults { li { (fault) } } }
            }
        }
    }
}

fn by_fields(visit: &Visit, merchant: &Merchant, draft: &Draft, faults: &Faults) -> Markup {
    let action = format!("/merchants/{}/lifecycle", merchant.id);
    let base = draft.document.to_string();
    let pretty = serde_json::to_string_pretty(&draft.document).unwrap_or_default();
    html! {
        section.panel aria-label=(visit.say(title(visit))) {
            (listed(visit, &faults.of_none()))
            form.grid method="post" action=(action) hx-post=(action) hx-trigger="change delay:200ms" hx-target="#edit" hx-swap="morph:outerHTML" {
                (proof(visit))
                input type="hidden" name="base" value=(base);
                (fields(visit, faults))
                (buttons(visit))
            }
        }
        details.panel {
            summary { (visit.say(Text::EditDocument)) }
            form.stacked method="post" action=(action) {
                (proof(visit))
                label for="document" { (visit.say(Text::AsDocument)) }
                textarea #document.code name="document" rows="24" spellcheck="false" { (pretty) }
                (buttons(visit))
            }
        }
    }
}

fn fields(visit: &Visit, faults: &Faults) -> Markup {
    let say = |text: Text| visit.say(text);
    let never: Vec<_> = [("", say(Text::OptDefault))].into_iter().chain(merchants::cancellable(visit)).collect();
    let never_customer: Vec<_> = [("", say(Text::OptNever))].into_iter().chain(merchants::cancellable(visit)).collect();
    let unwind = faults
        .value("unwind")
        .as_array()
        .map(|parts| parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
    let production = faults.value("production.finish").as_str().unwrap_or_default();
    let delivery = faults.value("delivery.start").as_str().unwrap_or_default();
    let chosen = |field: &str| faults.value(field).as_str().unwrap_or_default().to_owned();
    let select = |field: &str, label: Text, chosen: &str, options: &[(&str, &str)]| {
        let (wrong, told) = faults.described(field);
        let input = html! {
            select id=(field) name=(field) aria-invalid=[wrong] aria-describedby=[told] {
                @for (value, text) in options { option value=(value) selected[*value == chosen] { (text) } }
            }
        };
        field_of(visit, faults, field, label, &input)
    };
    let typed = |field: &str, label: Text, value: &str| {
        let (wrong, told) = faults.described(field);
        let input = html! {
            input id=(field) name=(field) value=(value) maxlength="200" aria-invalid=[wrong] aria-describedby=[told];
        };
        field_of(visit, faults, field, label, &input)
    };
    html! {
        (typed("name", Text::Name, &chosen("name")))
        (select(
            "payment.method",
            Text::FieldMethod,
            &chosen("payment.method"),
            &[("card", say(Text::OptCard)), ("deposit", say(Text::OptDeposit))],
        ))
        (typed("payment.deposit_window", Text::FieldDepositWindow, &chosen("payment.deposit_window")))
        (select(
            "stock.take",
            Text::FieldStock,
            &chosen("stock.take"),
            &[
                ("on_placement", say(Text::OptOnPlacement)),
                ("on_payment", say(Text::OptOnPayment)),
                ("none", say(Text::OptNotCounted)),
            ],
        ))
        (select(
            "acceptance.on_timeout",
            Text::FieldAcceptance,
            &chosen("acceptance.on_timeout"),
            &[("", say(Text::OptNoAcceptance)), ("reject", say(Text::OptReject)), ("accept", say(Text::OptAccept))],
        ))
        (typed("acceptance.window", Text::FieldAcceptanceWindow, &chosen("acceptance.window")))
        (select(
            "production",
            Text::FieldProduction,
            production,
            &[
                ("", say(Text::OptNone)),
                ("merchant", say(Text::OptProductionWhole)),
                ("none", say(Text::OptProductionStart)),
            ],
        ))
        (select(
            "coupon",
            Text::FieldCoupon,
            &chosen("coupon"),
            &[
                ("", say(Text::OptNone)),
                ("before_delivery", say(Text::OptBeforeDelivery)),
                ("after_delivery", say(Text::OptAfterDelivery)),
            ],
        ))
        (select(
            "delivery",
            Text::FieldDelivery,
            delivery,
            &[
                ("", say(Text::OptNoDelivery)),
                ("automatic", say(Text::OptAutomatic)),
                ("courier", say(Text::OptCourier)),
            ],
        ))
        (select(
            "receipt.on_timeout",
            Text::FieldReceipt,
            &chosen("receipt.on_timeout"),
            &[("", say(Text::OptNone)), ("confirm", say(Text::OptReceipt))],
        ))
        (typed("receipt.window", Text::FieldReceiptWindow, &chosen("receipt.window")))
        (select("cancellation.customer", Text::FieldCustomerCancel, &chosen("cancellation.customer"), &never_customer))
        (select("cancellation.merchant", Text::FieldMerchantCancel, &chosen("cancellation.merchant"), &never))
        (typed("unwind", Text::FieldUnwind, &unwind.unwrap_or_default()))
    }
}

fn field_of(visit: &Visit, faults: &Faults, field: &str, label: Text, input: &Markup) -> Markup {
    let wrong = faults.of(field);
    html! {
        div.field .wrong[!wrong.is_empty()] {
            label for=(field) { (visit.say(label)) }
            (input)
            @if !wrong.is_empty() {
                p.fault id={ "fault-" (field) } lang=(ENGLISH) {
                    @for fault in wrong { (fault.split_once(": ").map_or(fault, |(_, why)| why)) " " }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_stands_beside_its_field_or_above_all() {
        let draft = json!({
            "payment": { "method": "deposit", "deposit_window": "soon" },
            "cancellation": { "customer": "delivered", "merchant": "ready" },
        });
        let unreadable = serde_json::from_value::<Window>(json!("soon")).expect_err("is no span").to_string();
        let all = [
            "name: `pizza` is a preset's; choose another".to_owned(),
            "cancellation: an order of this lifecycle is never cancelled at `delivered`, but at placed".to_owned(),
            "steps.delivery.start.factor: expected 1 to 10".to_owned(),
            unreadable,
        ];
        let faults = Faults { draft: &draft, all: &all };
        for (field, count) in [
            ("name", 1),
            ("cancellation.customer", 1),
            ("cancellation.merchant", 0),
            ("payment.deposit_window", 1),
            ("unwind", 0),
        ] {
            assert_eq!(faults.of(field).len(), count, "{field}");
        }
        assert_eq!(faults.of_none(), ["steps.delivery.start.factor: expected 1 to 10"]);
    }
}
