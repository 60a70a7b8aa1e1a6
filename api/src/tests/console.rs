//! The console, over ports in memory: who gets in, what each sees, and that a page is one whatever goes wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use futures::StreamExt;
use poem::http::Method;
use poem::{Endpoint, Request, RequestBuilder};
use serde_json::{Value as Json, json};
use workflows::order::Fact;
use workflows::{Context, Lifecycle, OrderId, Role, Step};

use crate::testing::{Answer, World, anonymous, deps, locked, order, token, unlimited};
use crate::{Deps, Limits, serve};

/// A request of somebody who is signed in.
fn visit(method: Method, path: &str, role: Role, subject: &str) -> RequestBuilder {
    here(method, path).header("cookie", format!("theme=dark; jumun_session={}", token(role, subject)))
}

/// A request of somebody who is not.
fn here(method: Method, path: &str) -> RequestBuilder {
    anonymous(method, path).header("host", "localhost:8088")
}

fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> Request {
    request.content_type("application/x-www-form-urlencoded").body(encoded(fields))
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"));
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    fields.join("&")
}

async fn see(world: &World, path: &str, role: Role) -> Answer {
    world.send(visit(Method::GET, path, role, "kim").finish()).await
}

/// Posts a form as a page of ours would.
async fn post(world: &World, path: &str, role: Role, fields: &[(&str, &str)]) -> Answer {
    let proof = proof(world, role).await;
    let fields: Vec<_> = [("proof", proof.as_str())].into_iter().chain(fields.iter().copied()).collect();
    world.send(form(visit(Method::POST, path, role, "kim"), &fields)).await
}

/// What forms show, as the pages of that role have it.
async fn proof(world: &World, role: Role) -> String {
    let page = see(world, "/", role).await.text;
    let (_, rest) = page.split_once(r#"name="proof" value=""#).expect("a form");
    rest.split('"').next().expect("a value").to_owned()
}

/// The value of every attribute of that name.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    page.split(begin.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// The console as it is served, to browsers that show where they are.
struct Served {
    base: String,
    client: reqwest::Client,
}

impl Served {
    async fn of(deps: Deps) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(serve(listener, deps, std::future::pending(), Duration::ZERO));
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { base, client: client.build().expect("a client") }
    }

    async fn choose(&self, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> (u16, Vec<String>, String) {
        let request = self.client.post(format!("{}/sign-in", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(encoded(fields));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.send().await.expect("an answer");
        let told = |name| answer.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let told = [told("location"), told("set-cookie")].into_iter().flatten().collect();
        (answer.status().as_u16(), told, answer.text().await.expect("text"))
    }
}

#[tokio::test]
async fn a_role_is_chosen_and_kept_where_no_script_and_no_other_site_gets_it() {
    let world = World::new().await;
    let first = world.send(here(Method::GET, "/").finish()).await;
    assert_eq!((first.status.as_u16(), first.header("location")), (303, Some("/sign-in")));
    let served = Served::of(deps(&world.state, "http://127.0.0.1:1")).await;
    let page = served.client.get(format!("{}/sign-in?next=%2Fstuck", served.base)).send().await.expect("a page");
    let page = page.text().await.expect("text");
    assert!(page.contains(r#"<option value="sauce-shop""#) && page.contains(r#"value="/stuck""#), "{page}");
    let choice = [("role", "operator"), ("name", "lee"), ("next", "/stuck")];
    let (status, told, _) = served.choose(&[], &choice).await;
    assert_eq!((status, told[0].as_str()), (303, "/stuck"));
    for flag in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age="] {
        assert!(told[1].contains(flag), "{flag} in {}", told[1]);
    }
    assert!(!told[1].contains("Secure"));
    let session = told[1].split(';').next().expect("a pair");
    let board = world.send(here(Method::GET, "/").header("cookie", session).finish()).await;
    assert!(board.text.contains("lee"), "{}", board.text);
}

#[tokio::test]
async fn only_who_sits_at_this_machine_chooses_a_role() {
    let world = World::new().await;
    let served = Served::of(deps(&world.state, "http://127.0.0.1:1")).await;
    let choice = [("role", "operator"), ("name", "lee")];
    // A page whose name leads here; and one that sends a form here.
    for (headers, expected) in [([("host", "evil.example")], 422), ([("origin", "http://evil.example")], 403)] {
        let (status, told, page) = served.choose(&headers, &choice).await;
        assert_eq!((status, told.len()), (expected, 0), "{page}");
    }
    // Whoever comes through a proxy on this machine may sit anywhere.
    for header in ["x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip"] {
        assert_eq!(served.choose(&[(header, "x")], &choice).await.0, 422, "{header}");
    }
    let unminted = Served::of(Deps { mint: None, ..deps(&world.state, "http://127.0.0.1:1") }).await;
    assert_eq!(unminted.choose(&[], &choice).await.0, 422);
    // Nothing shows where this one comes from.
    assert_eq!(world.send(form(here(Method::POST, "/sign-in"), &choice)).await.status, 422);
    let nobody = [("role", "merchant"), ("name", "lee")];
    assert_eq!(served.choose(&[], &nobody).await.0, 401, "a merchant without one");
}

#[tokio::test]
async fn a_token_that_is_pasted_is_as_good_as_it_is() {
    let world = World::new().await;
    let good = token(Role::Customer, "kim");
    let entered = world.send(form(here(Method::POST, "/sign-in"), &[("token", &format!(" Bearer {good} "))])).await;
    assert_eq!(entered.status, 303);
    // Where the browser speaks TLS, the cookie is sent over nothing else, and no other host of the domain can set it.
    let by_tls = here(Method::POST, "/sign-in").header("x-forwarded-proto", "https");
    let entered = world.send(form(by_tls, &[("token", &good)])).await;
    let cookie = entered.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-jumun_session=") && cookie.ends_with("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    let back =
        |scheme: &str| here(Method::GET, "/").header("cookie", pair).header("x-forwarded-proto", scheme).finish();
    assert_eq!(world.send(back("https")).await.status, 200);
    assert_eq!(world.send(back("http")).await.status, 303);
    let refused = world.send(form(here(Method::POST, "/sign-in"), &[("token", "a.b.c")])).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("set-cookie").is_none() && refused.text.contains("The token is not good here"));
    let long = world.send(form(here(Method::POST, "/sign-in"), &[("token", &"x".repeat(3_900))])).await;
    assert_eq!(long.status, 422);
}

#[tokio::test]
async fn whose_session_is_over_signs_in_and_goes_on_where_they_were() {
    let world = World::new().await;
    let over = here(Method::GET, "/orders/ord_1?done=cancel").header("cookie", "jumun_session=a.b.c").finish();
    let sent = world.send(over).await;
    assert_eq!(sent.header("location"), Some("/sign-in?next=%2Forders%2Ford_1%3Fdone%3Dcancel&why=over"));
    let good = token(Role::Operator, "lee");
    for (next, gone) in [("/stuck", "/stuck"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/")]
    {
        let choice = [("token", good.as_str()), ("next", next)];
        let entered = world.send(form(here(Method::POST, "/sign-in"), &choice)).await;
        assert_eq!(entered.header("location"), Some(gone), "{next}");
        let path = format!("/language/ko?next={}", next.replace('\\', "%5C"));
        assert_eq!(world.send(here(Method::GET, &path).finish()).await.header("location"), Some(gone), "{next}");
    }
}

#[tokio::test]
async fn a_form_that_is_not_ours_does_nothing() {
    let world = World::new().await;
    let id = world.placed(order()).await;
    let path = format!("/orders/{id}/cancel");
    let (own, others) = (proof(&world, Role::Customer).await, proof(&world, Role::Operator).await);
    for (fields, site) in [
        (vec![], "same-origin"),
        (vec![("proof", "")], "same-origin"),
        (vec![("proof", others.as_str())], "same-origin"),
        (vec![("proof", own.as_str())], "cross-site"),
        (vec![("proof", own.as_str())], "same-site"),
    ] {
        let request = visit(Method::POST, &path, Role::Customer, "kim").header("sec-fetch-site", site);
        let refused = world.send(form(request, &fields)).await;
        assert_eq!(refused.status, 403, "{fields:?} from {site}");
        assert!(refused.text.contains("Nothing was done"), "{}", refused.text);
    }
    // With a proof it reaches the engine, which fails here.
    let request = visit(Method::POST, &path, Role::Customer, "kim").header("sec-fetch-site", "same-origin");
    let carried = world.send(form(request, &[("proof", own.as_str()), ("reason", "too late")])).await;
    assert_eq!(carried.status, 503);
    assert!(carried.text.contains(r#"value="too late""#), "what was typed is kept: {}", carried.text);
}

#[tokio::test]
async fn the_api_knows_no_cookies() {
    let world = World::new().await;
    for path in ["/v1/orders", "/v1/dashboard"] {
        world.send(visit(Method::GET, path, Role::Operator, "kim").finish()).await.is_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn every_page_is_one_for_every_role_and_in_both_languages() {
    let world = World::new().await;
    *locked(&world.state.invocations) = Some(Vec::new());
    let id = world.placed(order()).await;
    let paths = [
        "/".to_owned(),
        "/?status=paid".to_owned(),
        "/?q=gochujang".to_owned(),
        format!("/orders/{id}"),
        "/place".to_owned(),
        "/stuck".to_owned(),
        "/merchants".to_owned(),
        "/merchants/sauce-shop".to_owned(),
        "/merchants/sauce-shop/lifecycle".to_owned(),
        "/dashboard".to_owned(),
        "/sign-in".to_owned(),
        "/orders/ord_nobody".to_owned(),
    ];
    for role in Role::ALL {
        for path in &paths {
            for (language, sign_out) in [("en", "Sign out"), ("ko", "로그아웃")] {
                let request = visit(Method::GET, path, role, "kim").header("accept-language", language).finish();
                let page = world.send(request).await;
                let what = format!("{path} as {role} in {language}: {}", page.status);
                let refused = page.status == 403 || page.status == 404 || page.status == 303;
                assert!(page.status.is_success() || refused, "{what}: {}", page.text);
                let policy = page.header("content-security-policy").expect(&what);
                assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{what}");
                assert_eq!(page.header("cache-control"), Some("no-store"), "{what}");
                if page.status == 303 {
                    continue;
                }
                assert!(page.text.contains(&format!(r#"<html lang="{language}">"#)), "{what}");
                assert!(page.text.contains(sign_out) && page.text.contains("<h1>"), "{what}: {}", page.text);
                assert!(!page.text.contains(" style=") && !page.text.contains(" onclick="), "{what}");
                let scripts = page.text.matches("<script").count();
                assert_eq!(scripts, page.text.matches(r#"<script src="/assets/"#).count(), "{what}: one of its own");
            }
        }
    }
}

#[tokio::test]
async fn everybody_has_the_buttons_that_they_may_press() {
    let world = World::new().await;
    *locked(&world.state.invocations) = Some(Vec::new());
    let food = Lifecycle::preset("food-delivery").expect("a preset");
    world.put("/v1/merchants/sauce-shop", json!({"name": "S", "currency": "KRW", "lifecycle": food})).await;
    let id = world.placed(order()).await;
    let journey = [
        (Step::KitchenOffer, vec![Fact::OrderOffered]),
        (Step::OrderAccept, vec![Fact::OrderAccepted]),
        (Step::KitchenStart, vec![Fact::ProductionStarted]),
        (Step::KitchenFinish, vec![Fact::ProductionFinished]),
    ];
    let mut seen = 0;
    for (step, facts) in journey {
        world.state.write(&id, facts.into_iter().map(|fact| (step, fact)));
        for role in Role::ALL {
            let path = format!("/v1/orders/{id}");
            let told = world.send(crate::testing::request_as(&token(role, "kim"), Method::GET, &path).finish()).await;
            let page = see(&world, &format!("/orders/{id}"), role).await;
            assert_eq!(page.status.is_success(), told.status.is_success(), "{role} after {step}");
            let Some(allowed) = told.body["allowed_commands"].as_array() else { continue };
            let mut allowed: Vec<_> = allowed.iter().filter_map(Json::as_str).collect();
            let commands = page.text.split("</section>").next().unwrap_or_default();
            let mut buttons = attributes(commands, "value");
            buttons.retain(|value| workflows::Command::ALL.iter().any(|command| command.as_str() == *value));
            allowed.sort_unstable();
            buttons.sort_unstable();
            assert_eq!(buttons, allowed, "{role} after {step}");
            seen += buttons.len();
        }
    }
    assert!(seen > 10, "there is something to press");
}

#[tokio::test]
async fn what_people_write_is_shown_and_not_run() {
    let world = World::new().await;
    *locked(&world.state.invocations) = Some(Vec::new());
    let hostile = r#"<script>alert(1)</script>"><img src=x onerror=alert(1)>"#;
    let mut placed = order();
    placed["customer"] = json!({"name": hostile, "phone": "010", "address": hostile});
    placed["note"] = json!(hostile);
    let id = world.placed(placed).await;
    world.put("/v1/merchants/sauce-shop", json!({"name": hostile, "currency": "KRW", "lifecycle": "sauce-shop"})).await;
    for path in ["/", "/merchants", "/merchants/sauce-shop", "/place", "/sign-in", "/?q=<script>alert(1)</script>"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/orders/{id}")])
    {
        let path = path.replace('<', "%3C").replace('>', "%3E");
        let page = see(&world, &path, Role::Operator).await;
        assert!(page.status.is_success(), "{path}");
        assert!(!page.text.contains("<script>") && !page.text.contains("<img"), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn a_context_that_is_down_is_down_for_itself_only() {
    let world = World::new().await;
    *locked(&world.state.invocations) = Some(Vec::new());
    let id = world.placed(order()).await;
    let whole = see(&world, &format!("/orders/{id}"), Role::Operator).await.text;
    assert!(!whole.contains("does not answer right now"));
    for context in ["delivery", "promotion"] {
        let down = post(&world, &format!("/sandbox/{context}"), Role::Operator, &[("mode", "down")]).await;
        assert_eq!(down.status, 303, "{}", down.text);
    }
    let page = see(&world, &format!("/orders/{id}"), Role::Operator).await;
    assert_eq!(page.status, 200);
    for context in [Context::Delivery, Context::Promotion] {
        assert!(page.text.contains(&format!("The {context} context does not answer right now.")), "{}", page.text);
    }
    assert!(page.text.contains("Gochujang") && page.text.contains("₩24,000"));
    let health = see(&world, "/dashboard", Role::Operator).await.text;
    assert_eq!(health.matches("lamp ill").count(), 2, "{health}");
}

#[tokio::test]
async fn a_fault_stands_beside_its_field_and_nothing_is_saved() {
    let world = World::new().await;
    let base = json!(Lifecycle::preset("sauce-shop").expect("a preset")).to_string();
    let mut fields = vec![
        ("base", base.as_str()),
        ("name", "sauce-express"),
        ("payment.method", "card"),
        ("payment.deposit_window", "3days"),
        ("stock.take", "on_placement"),
        ("delivery", "automatic"),
        ("cancellation.customer", "paid"),
        ("do", "save"),
    ];
    let path = "/merchants/sauce-shop/lifecycle";
    let faulty = post(&world, path, Role::Operator, &fields).await;
    assert_eq!(faulty.status, 422);
    let (_, beside) = faulty.text.split_once(r#"name="payment.deposit_window""#).expect("the field");
    let beside = beside.split("</div>").next().expect("its end");
    assert!(beside.contains("only a deposit is waited for") && beside.contains(r#"aria-invalid="true""#), "{beside}");
    assert!(faulty.text.contains(r#"value="sauce-express""#), "what was typed is kept");
    assert_eq!(world.get("/v1/merchants/sauce-shop").await.body["lifecycle"], "sauce-shop");
    fields[3] = ("payment.deposit_window", "");
    let saved = post(&world, path, Role::Operator, &fields).await;
    assert_eq!(saved.header("location"), Some("/merchants/sauce-shop?saved"), "{}", saved.text);
    assert_eq!(world.get("/v1/merchants/sauce-shop").await.body["lifecycle"], "sauce-express");
    let refused = post(&world, path, Role::Merchant, &fields).await;
    assert_eq!(refused.status, 403, "merchants do not write their own lifecycle, as the API has it");
    let document = post(&world, path, Role::Operator, &[("document", "{"), ("do", "save")]).await;
    assert!(document.status == 422 && document.text.contains("EOF while parsing"), "{}", document.text);
}

#[tokio::test]
async fn products_are_edited_and_a_refusal_keeps_what_was_typed() {
    let world = World::new().await;
    let path = "/merchants/sauce-shop/products";
    let fields = [("sku", "gochujang"), ("name", "Gochujang 1 kg"), ("unit_price", "15,000"), ("on_hand", "7")];
    let saved = post(&world, path, Role::Merchant, &fields).await;
    assert_eq!(saved.header("location"), Some("/merchants/sauce-shop?saved#product-gochujang"), "{}", saved.text);
    let product = world.get("/v1/merchants/sauce-shop/products/gochujang").await.body;
    assert_eq!((&product["unit_price"]["amount"], &product["on_hand"]), (&json!(15_000), &json!(7)));
    // Whoever leaves the stock alone leaves it as it is, and not as the page knew it.
    let stale = [fields.as_slice(), &[("on_hand_was", "7")]].concat();
    let price = json!({"amount": 15_000, "currency": "KRW"});
    let sold = json!({"name": "Gochujang 1 kg", "unit_price": price, "on_hand": 3});
    world.put("/v1/merchants/sauce-shop/products/gochujang", sold).await;
    assert_eq!(post(&world, path, Role::Merchant, &stale).await.status, 303);
    let product = world.get("/v1/merchants/sauce-shop/products/gochujang").await.body;
    assert_eq!(product["on_hand"], 3);
    for (field, value) in [("unit_price", "much"), ("on_hand", "some"), ("on_hand", "-1")] {
        let fields: Vec<_> =
            fields.iter().map(|(name, old)| (*name, if *name == field { value } else { *old })).collect();
        let refused = post(&world, path, Role::Merchant, &fields).await;
        assert!(refused.status.is_client_error(), "{field}: {value}");
        assert!(refused.text.contains(&format!(r#"value="{value}""#)), "{field}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_test_order_is_placed_once_however_often_the_form_is_sent() {
    let world = World::new().await;
    let key = "0190b0a0-0000-7000-8000-000000000001";
    let fields = [
        ("merchant_id", "sauce-shop"),
        ("key", key),
        ("quantity.gochujang", "2"),
        ("name", "Kim"),
        ("phone", "010"),
        ("address", "Seoul"),
        ("card_token", "tok_ok"),
    ];
    let placed = post(&world, "/place", Role::Customer, &fields).await;
    let path = placed.header("location").expect("an order").to_owned();
    assert!(path.starts_with("/orders/ord_"), "{path}");
    assert_eq!(post(&world, "/place", Role::Customer, &fields).await.header("location"), Some(path.as_str()));
    let (mut nothing, mut too_much) = (fields, fields);
    (nothing[2].1, too_much[2].1) = ("0", "many");
    for (fields, why) in [(nothing, "Nothing was ordered"), (too_much, "not as documented")] {
        let refused = post(&world, "/place", Role::Customer, &fields).await;
        assert!(refused.status.is_client_error() && refused.text.contains(why), "{}", refused.text);
        assert!(refused.text.contains(r#"value="Seoul""#), "what was typed is kept");
    }
    assert_eq!(world.state.placed(), 1);
}

#[tokio::test]
async fn an_order_costs_what_was_shown() {
    let world = World::new().await;
    let page = see(&world, "/place?merchant=sauce-shop", Role::Customer).await.text;
    assert!(page.contains(r#"name="price.gochujang" value="12000""#), "{page}");
    let fields = |price| {
        [
            ("merchant_id", "sauce-shop"),
            ("currency", "KRW"),
            ("quantity.gochujang", "2"),
            ("price.gochujang", price),
            ("name", "Kim"),
            ("phone", "010"),
            ("address", "Seoul"),
            ("card_token", "tok_ok"),
        ]
    };
    let refused = post(&world, "/place", Role::Customer, &fields("11000")).await;
    assert!(refused.status == 409 && refused.text.contains("Price changed"), "{}", refused.text);
    assert_eq!(post(&world, "/place", Role::Customer, &fields("12000")).await.status, 303);
}

#[tokio::test]
async fn a_part_of_a_page_is_never_a_whole_one() {
    let world = World::new().await;
    let part = |request: RequestBuilder| request.header("hx-request", "true").header("hx-target", "board").finish();
    let over = world.send(part(here(Method::GET, "/?status=paid"))).await;
    assert_eq!(over.status, 204);
    assert_eq!(over.header("hx-redirect"), Some("/sign-in?next=%2F%3Fstatus%3Dpaid&why=over"));
    let gone = part(visit(Method::GET, "/orders/ord_00000000000000000000000000000000", Role::Courier, "kim"));
    let gone = world.send(gone).await;
    assert_eq!((gone.status.as_u16(), gone.header("hx-redirect")), (204, Some("/")));
    let world = world.under(Limits { open_requests: 0, ..unlimited() });
    let shed = world.send(part(visit(Method::GET, "/", Role::Courier, "kim"))).await;
    assert_eq!((shed.status.as_u16(), shed.header("hx-reswap"), shed.text.as_str()), (503, Some("none"), ""));
}

#[tokio::test]
async fn where_forms_are_posted_is_never_a_dead_end() {
    let world = World::new().await;
    for (path, to) in [
        ("/stuck/retry", "/stuck"),
        ("/orders/ord_1/cancel", "/orders/ord_1"),
        ("/merchants/sauce-shop/products", "/merchants/sauce-shop"),
        ("/sandbox/payment", "/dashboard"),
    ] {
        let answer = see(&world, path, Role::Operator).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some(to)), "{path}");
    }
}

#[tokio::test]
async fn a_merchant_that_is_there_is_not_replaced_by_a_new_one() {
    let world = World::new().await;
    let fields = [("id", "sauce-shop"), ("name", "Other"), ("currency", "EUR"), ("lifecycle", "pizza")];
    let refused = post(&world, "/merchants", Role::Operator, &fields).await;
    assert!(refused.status == 409 && refused.text.contains("This id is taken"), "{}", refused.text);
    assert_eq!(world.get("/v1/merchants/sauce-shop").await.body["name"], "S");
}

#[tokio::test]
async fn many_are_counted_before_anything_is_done() {
    let world = World::new().await;
    *locked(&world.state.invocations) = Some(Vec::new());
    let id = world.placed(order()).await;
    let trouble = workflows::order::Trouble {
        step: Step::DeliveryRequest,
        since: crate::testing::at(),
        failures: 4,
        at: crate::testing::at(),
        why: format!("no answer for {id}"),
    };
    locked(&world.state.troubles).insert(id.clone(), trouble);
    let page = see(&world, "/stuck", Role::Operator).await.text;
    assert!(page.contains("delivery.request") && page.contains("no answer for …"), "{page}");
    let counted = post(&world, "/stuck/cancel", Role::Operator, &[]).await.text;
    assert!(counted.contains("Orders that match: 1. Cancel all of them?"), "{counted}");
    assert!(locked(&world.state.audit).iter().all(|entry| entry.act.action != "bulk_command_orders"), "only counted");
    let before =
        attributes(&counted, "value").into_iter().find(|value| value.ends_with("+00:00")).expect("a time").to_owned();
    let changed = [("placed_before", before.as_str()), ("expected", "2")];
    let refused = post(&world, "/stuck/cancel", Role::Operator, &changed).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(post(&world, "/stuck/cancel", Role::Merchant, &[]).await.status, 403);
}

#[tokio::test]
async fn what_is_turned_away_is_a_page_too() {
    let burst = NonZeroU32::new(3).expect("is not zero");
    let world = World::new().await.under(Limits { requests_per_second: NonZeroU32::MIN, burst, ..unlimited() });
    // Every page asks the API several times, and is counted once.
    for _ in 0..3 {
        assert_eq!(see(&world, "/", Role::Operator).await.status, 200);
    }
    let refused = see(&world, "/", Role::Operator).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{refused:?}");
    assert!(refused.text.contains("Too many requests") && refused.header("retry-after").is_some());
    assert!(refused.header("content-security-policy").is_some());
    let large = form(visit(Method::POST, "/place", Role::Courier, "kim"), &[("note", &"x".repeat(30_000))]);
    let refused = world.send(large).await;
    assert!(refused.status == 413 && refused.text.contains("<h1>"), "{refused:?}");
}

#[tokio::test]
async fn a_verb_that_no_page_takes_is_refused() {
    let world = World::new().await;
    for method in [Method::DELETE, Method::PUT] {
        let refused = world.send(visit(method, "/orders/ord_1", Role::Operator, "kim").finish()).await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, Some("GET, HEAD, POST")));
        assert!(refused.text.contains("<h1>"), "{}", refused.text);
    }
}

#[tokio::test]
async fn assets_are_kept_for_good_and_the_first_page_is_light() {
    let world = World::new().await;
    let compressed = |path: &str| here(Method::GET, path).header("accept-encoding", "br, gzip").finish();
    let page = world.app.get_response(compressed("/sign-in")).await;
    assert_eq!(page.header("content-encoding"), Some("gzip"));
    let mut transferred = page.into_body().into_vec().await.expect("a page").len();
    let plain = world.send(here(Method::GET, "/sign-in").finish()).await.text;
    let assets: Vec<_> = attributes(&plain, "src").into_iter().chain(attributes(&plain, "href")).collect();
    let assets: Vec<_> = assets.into_iter().filter(|path| path.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for path in assets {
        let asset = world.app.get_response(compressed(path)).await;
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
        assert_eq!(asset.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"), "{path}");
        transferred += asset.into_body().into_vec().await.expect("an asset").len();
        assert!(world.send(here(Method::GET, path).finish()).await.header("content-encoding").is_none(), "{path}");
    }
    assert!(transferred < 100_000, "{transferred} bytes");
    assert_eq!(world.send(here(Method::GET, "/assets/console.css").finish()).await.status, 404);
}

/// What a live stream tells within a moment.
async fn told(world: &World, path: &str, role: Role, subject: &str, meanwhile: impl FnOnce()) -> String {
    let stream = world.app.get_response(visit(Method::GET, path, role, subject).finish()).await;
    assert_eq!(stream.status(), 200, "{path} as {role}");
    let mut chunks = Box::pin(stream.into_body().into_bytes_stream());
    // The page may have missed what happened before.
    chunks.next().await.expect("a word").expect("readable");
    meanwhile();
    let next = tokio::time::timeout(Duration::from_secs(2), chunks.next()).await;
    next.ok().flatten().map(|chunk| String::from_utf8_lossy(&chunk.expect("readable")).into_owned()).unwrap_or_default()
}

#[tokio::test]
async fn who_sees_an_order_is_told_that_it_changes_and_nobody_else_is() {
    let world = World::new().await;
    let id: OrderId = world.placed(order()).await;
    let path = format!("/live?order={id}");
    for (path, role, subject, expected) in [
        ("/live", Role::Operator, "ops", true),
        ("/live", Role::Merchant, "owner", true),
        ("/live", Role::Customer, "kim", true),
        ("/live", Role::Customer, "mallory", false),
        (path.as_str(), Role::Customer, "kim", true),
    ] {
        let change = || world.state.write(&id, [(Step::DeliveryRequest, Fact::StockReserved)]);
        let told = told(&world, path, role, subject, change).await;
        assert_eq!(told == "event: changed\ndata: 1\n\n", expected, "{path} as {role} {subject}: {told}");
    }
    let others = visit(Method::GET, &path, Role::Customer, "mallory").finish();
    assert_eq!(world.send(others).await.status, 404);
}
