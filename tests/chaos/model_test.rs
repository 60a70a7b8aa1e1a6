use super::*;

const ID: &str = "ord_1";

/// Somebody who was told that an order of that shop stands, and asked these commands with success.
fn known(shop: Shop, accepted: &[&'static str]) -> Known {
    let yes = Asked { accepted: 1, ..Asked::default() };
    Known {
        key: "key".to_owned(),
        shop,
        total: 9_000,
        told: vec![Told::Stands { id: ID.to_owned(), body: "{}".to_owned() }],
        commands: accepted.iter().map(|command| (*command, yes)).collect(),
        buttons: 0,
    }
}

fn entry(kind: &str, amount: i64) -> Entry {
    Entry { kind: kind.to_owned(), postings: vec![("customer".to_owned(), -amount), ("merchant".to_owned(), amount)] }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// An order with these facts, and everything else as it should be.
fn seen(shop: Shop, facts: &[&str]) -> Seen {
    let notified: Vec<_> = facts.iter().filter_map(|fact| shop.status(fact)).map(str::to_owned).collect();
    let closed = facts.contains(&"order_closed");
    let is = |done: bool, fact: &str, state: &str, undone: &str| match (done, facts.contains(&fact)) {
        (true, true) => texts(&[state]),
        (false, true) => texts(&[undone]),
        _ => Vec::new(),
    };
    let mut entries = Vec::new();
    if facts.contains(&"payment_approved") {
        entries.push(entry("charge", 9_000));
    }
    if facts.contains(&"deposit_confirmed") {
        entries.push(entry("deposit", 9_000));
    }
    if !closed && !entries.is_empty() {
        entries.push(entry("refund", -9_000));
    }
    Seen {
        id: ID.to_owned(),
        status: notified.last().expect("a status").clone(),
        total: 9_000,
        rejection: None,
        events: (1..).zip(texts(facts)).collect(),
        entries,
        deliveries: is(closed, "delivery_requested", "delivered", "cancelled"),
        coupons: is(closed, "coupon_issued", "issued", "cancelled"),
        notified,
    }
}

fn closed(shop: Shop) -> (Known, Seen) {
    (known(shop, shop.commands()), seen(shop, shop.life()))
}

/// Cancelled after the first `lived` facts, and undone.
fn cancelled(shop: Shop, lived: usize) -> (Known, Seen) {
    let lived = &shop.life()[..lived];
    let default = ["delivery_cancelled", "coupon_cancelled", "stock_released", "payment_cancelled"];
    let unwinds = shop.unwinds().unwrap_or(&default);
    let needed = unwinds.iter().filter(|undo| {
        let (_, dos) = UNDOS.iter().find(|(other, _)| other == *undo).expect("an undo");
        dos.iter().any(|fact| lived.contains(fact))
    });
    let facts: Vec<_> = lived
        .iter()
        .copied()
        .chain(["cancellation_requested"])
        .chain(needed.copied())
        .chain(["order_cancelled"])
        .collect();
    let effects: Vec<_> =
        shop.commands().iter().copied().filter(|command| lived.contains(&effect(command))).chain(["cancel"]).collect();
    (known(shop, &effects), seen(shop, &facts))
}

#[test]
fn a_life_without_faults_is_fine() {
    for shop in Shop::ALL {
        let (known, seen) = closed(shop);
        assert_eq!(judge(&known, &seen), [""; 0], "{shop:?}");
        for lived in 1..shop.life().len() - 2 {
            let (known, seen) = cancelled(shop, lived);
            assert_eq!(judge(&known, &seen), [""; 0], "{shop:?}, after {lived}");
        }
    }
}

#[track_caller]
fn condemns(shop: Shop, complaint: &str, spoil: impl Fn(&mut Known, &mut Seen)) {
    for (case, (mut known, mut seen)) in
        [("closed", closed(shop)), ("cancelled", cancelled(shop, shop.life().len() - 3))]
    {
        let before = format!("{known:?} {seen:?}");
        spoil(&mut known, &mut seen);
        if format!("{known:?} {seen:?}") != before {
            let wrong = judge(&known, &seen);
            assert!(wrong.iter().any(|wrong| wrong.contains(complaint)), "{case} {shop:?}: {wrong:#?}");
        }
    }
}

fn drop_fact(seen: &mut Seen, fact: &str) {
    seen.events.retain(|(_, name)| name != fact);
    for ((number, _), expected) in seen.events.iter_mut().zip(1..) {
        *number = expected;
    }
}

#[test]
fn every_kind_of_wrong_is_seen() {
    for shop in Shop::ALL {
        condemns(shop, "numbered with gaps", |_, seen| seen.events[1].0 = 7);
        condemns(shop, "a fact twice", |_, seen| {
            let (number, again) = (seen.events.len() as u64 + 1, seen.events[1].1.clone());
            seen.events.push((number, again));
        });
        condemns(shop, "it never ended", |_, seen| seen.status = "paid".to_owned());
        condemns(shop, "instead of 9000", |_, seen| seen.total = 1);
        condemns(shop, "entries", |_, seen| {
            seen.entries = seen.entries.iter().filter(|entry| entry.kind == "never").cloned().collect();
            seen.status = "cancelled".to_owned();
        });
        condemns(shop, "does not balance", |_, seen| seen.entries[0].postings[0].1 += 1);
        condemns(shop, "notified", |_, seen| drop(seen.notified.pop()));
        condemns(shop, "notified", |_, seen| seen.notified.insert(0, "placed".to_owned()));
        condemns(shop, "its delivery is", |_, seen| seen.deliveries = texts(&["in_delivery"]));
        condemns(shop, "its coupon is", |_, seen| seen.coupons = texts(&["issued", "issued"]));
        condemns(shop, "no such life", |_, seen| drop_fact(seen, "order_paid"));
    }
    condemns(Shop::Street12, "no coupon_cancelled", |_, seen| drop_fact(seen, "coupon_cancelled"));
    condemns(Shop::Street12, "undone as", |_, seen| {
        let place = |name: &str| seen.events.iter().position(|(_, fact)| fact == name);
        if let (Some(a), Some(b)) = (place("payment_cancelled"), place("coupon_cancelled")) {
            seen.events[a].1 = "coupon_cancelled".to_owned();
            seen.events[b].1 = "payment_cancelled".to_owned();
        }
    });
}

#[test]
fn what_was_said_holds() {
    let (mut known, seen) = closed(Shop::Pizza);
    known.commands.insert("cancel", Asked { accepted: 1, ..Asked::default() });
    assert!(judge(&known, &seen).iter().any(|wrong| wrong.contains("a cancel was acknowledged, and it is closed")));

    let (mut known, seen) = closed(Shop::Pizza);
    known.commands.insert("start-delivery", Asked { refused: 2, ..Asked::default() });
    assert!(judge(&known, &seen).iter().any(|wrong| wrong.contains("but not for anybody who was told so")));
    known.commands.insert("start-delivery", Asked { refused: 2, unanswered: 1, ..Asked::default() });
    assert_eq!(judge(&known, &seen), [""; 0]);

    let (mut known, seen) = cancelled(Shop::Sauces, 5);
    known.commands.clear();
    assert!(judge(&known, &seen).iter().any(|wrong| wrong.contains("cancelled by itself")));
    known.buttons = 1;
    assert_eq!(judge(&known, &seen), [""; 0]);

    let facts =
        ["order_placed", "payment_approved", "order_paid", "order_offered", "payment_cancelled", "order_rejected"];
    let (mut known, seen) = (known_rejecting(), super::tests::seen(Shop::FoodDelivery, &facts));
    assert_eq!(judge(&known, &seen), [""; 0]);
    known.commands.clear();
    assert!(judge(&known, &seen).iter().any(|wrong| wrong.contains("rejected by itself")));
}

fn known_rejecting() -> Known {
    known(Shop::FoodDelivery, &["reject"])
}

#[test]
fn a_key_has_one_order_and_one_answer() {
    let (mut known, mut seen) = closed(Shop::Pizza);
    seen.id = "ord_2".to_owned();
    assert!(judge(&known, &seen).iter().any(|wrong| wrong.contains("a second order of the same key")));
    known.told.push(Told::Stands { id: ID.to_owned(), body: "{ }".to_owned() });
    assert_eq!(known.judge_answers().len(), 1);
}
