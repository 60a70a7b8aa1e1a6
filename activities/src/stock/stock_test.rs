use super::*;
use crate::Store;
use futures::future::join_all;
use workflows::stock::Wanted;
use workflows::{Currency, MerchantId, Money};

async fn database() -> Database {
    let store = Store::open("mem://").await.expect("opens");
    store.database("stock").await.expect("opens")
}

async fn stock(on_hand: Option<i64>) -> Arc<BuiltIn> {
    over(&database().await, on_hand).await
}

async fn over(database: &Database, on_hand: Option<i64>) -> Arc<BuiltIn> {
    let stock = BuiltIn::open(database.clone(), Arc::new(Modes::default())).await.expect("defines");
    for sku in ["chili", "soy"] {
        assert!(matches!(stock.put_product(&product(sku, on_hand)).await, Ok(ProductPut::Saved(_))));
    }
    Arc::new(stock)
}

fn product(sku: &str, on_hand: Option<i64>) -> Product {
    Product {
        merchant_id: shop(),
        sku: sku.parse().expect("valid"),
        name: "A sauce".to_owned(),
        unit_price: Money::new(9_000, Currency::KRW),
        on_hand,
        reserved: 0,
    }
}

fn shop() -> MerchantId {
    "sauce-shop".parse().expect("valid")
}

fn of(order_id: &OrderId) -> OrderRef {
    OrderRef { order_id: order_id.clone(), merchant_id: shop() }
}

fn reservation(order_id: &OrderId, lines: &[(&str, u32)]) -> Reservation {
    let wanted = |(sku, quantity): &(&str, u32)| Wanted { sku: sku.parse().expect("valid"), quantity: *quantity };
    Reservation { order_id: order_id.clone(), merchant_id: shop(), lines: lines.iter().map(wanted).collect() }
}

fn all(merchant_id: MerchantId) -> ProductQuery {
    ProductQuery { merchant_id, skus: Vec::new() }
}

/// On hand and reserved, of both products.
async fn shelves(stock: &BuiltIn) -> Vec<(Option<i64>, i64)> {
    let products = stock.products(&all(shop())).await.expect("lists");
    products.iter().map(|product| (product.on_hand, product.reserved)).collect()
}

#[tokio::test]
async fn every_call_can_be_repeated() {
    let stock = stock(Some(10)).await;
    let order = OrderId::from_bits(1);
    let reservation = reservation(&order, &[("chili", 3), ("soy", 1)]);
    for _ in 0..3 {
        assert_eq!(stock.reserve(&reservation).await.expect("answers"), Reserved::Held);
    }
    assert_eq!(shelves(&stock).await, [(Some(10), 3), (Some(10), 1)]);
    for _ in 0..3 {
        stock.commit(&of(&order)).await.expect("commits");
    }
    assert_eq!(shelves(&stock).await, [(Some(7), 0), (Some(9), 0)]);
    for _ in 0..3 {
        assert_eq!(stock.restock(&of(&order)).await.expect("restocks"), Undo::Undone);
        assert_eq!(stock.release(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
    }
    assert_eq!(shelves(&stock).await, [(Some(10), 0), (Some(10), 0)]);
    assert!(stock.commit(&of(&order)).await.is_err());
}

#[tokio::test]
async fn a_release_gives_back_what_was_held_or_sold() {
    let stock = stock(Some(10)).await;
    for (n, commit) in [(1, false), (2, true)] {
        let order = OrderId::from_bits(n);
        stock.reserve(&reservation(&order, &[("chili", 3)])).await.expect("holds");
        if commit {
            stock.commit(&of(&order)).await.expect("commits");
        }
        for _ in 0..2 {
            assert_eq!(stock.release(&of(&order)).await.expect("releases"), Undo::Undone);
        }
        assert_eq!(shelves(&stock).await, [(Some(10), 0), (Some(10), 0)]);
    }
}

#[tokio::test]
async fn all_lines_or_none_and_a_refusal_stays_one() {
    let stock = stock(Some(10)).await;
    let order = OrderId::from_bits(1);
    let short = Reserved::OutOfStock { sku: "soy".parse().expect("valid"), available: 10 };
    assert_eq!(stock.reserve(&reservation(&order, &[("chili", 3), ("soy", 11)])).await.expect("answers"), short);
    assert_eq!(shelves(&stock).await, [(Some(10), 0), (Some(10), 0)]);
    stock.put_product(&product("soy", Some(50))).await.expect("saves");
    assert_eq!(stock.reserve(&reservation(&order, &[("chili", 3), ("soy", 11)])).await.expect("answers"), short);
    assert_eq!(stock.release(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
}

#[tokio::test]
async fn a_release_that_comes_first_keeps_the_hold_out() {
    let stock = stock(Some(10)).await;
    let order = OrderId::from_bits(1);
    assert_eq!(stock.release(&of(&order)).await.expect("finds nothing"), Undo::Nothing);
    let late = stock.reserve(&reservation(&order, &[("chili", 1)])).await;
    assert!(matches!(late, Err(ProviderError::Impossible(_))));
    assert_eq!(shelves(&stock).await, [(Some(10), 0), (Some(10), 0)]);
}

#[tokio::test]
async fn never_oversold_by_concurrent_orders() {
    let stock = stock(Some(10)).await;
    let orders: Vec<_> = (0..40)
        .map(|n| {
            let stock = stock.clone();
            tokio::spawn(async move {
                stock.reserve(&reservation(&OrderId::from_bits(n), &[("chili", 1)])).await.expect("answers")
            })
        })
        .collect();
    let mut held = 0;
    for order in orders {
        held += usize::from(order.await.expect("no panic") == Reserved::Held);
    }
    assert_eq!(held, 10);
    assert_eq!(shelves(&stock).await[0], (Some(10), 10));
}

#[tokio::test]
async fn nor_by_processes_that_take_from_the_same_stock() {
    let database = database().await;
    let processes = [over(&database, Some(10)).await, over(&database, Some(10)).await];
    let take = async |n: u128| {
        let stock = &processes[usize::from(n < 20)];
        let order = OrderId::from_bits(n);
        let reserved = stock.reserve(&reservation(&order, &[("chili", 1), ("soy", 1)])).await.expect("answers");
        if reserved != Reserved::Held {
            return false;
        }
        // It goes on wherever there is somebody who does.
        let other = &processes[usize::from(n >= 20)];
        let order = of(&order);
        let (one, two) = tokio::join!(stock.commit(&order), other.commit(&order));
        one.and(two).expect("commits");
        true
    };
    let held = join_all((0..40).map(take)).await;
    assert_eq!(held.into_iter().filter(|held| *held).count(), 10);
    assert_eq!(shelves(&processes[0]).await, [(Some(0), 0), (Some(0), 0)]);
}

#[tokio::test]
async fn what_is_asked_together_is_answered_to_each() {
    let stock = stock(Some(100)).await;
    let orders: Vec<_> = (0..21).map(OrderId::from_bits).collect();
    for order in &orders[..10] {
        assert_eq!(stock.reserve(&reservation(order, &[("chili", 2)])).await.expect("answers"), Reserved::Held);
    }
    let outcomes = join_all(orders.iter().enumerate().map(async |(n, order)| {
        match n {
            0..5 => stock.commit(&of(order)).await.is_ok(),
            5..10 => stock.release(&of(order)).await.is_ok_and(|undo| undo == Undo::Undone),
            10..15 => {
                stock.reserve(&reservation(order, &[("chili", 1)])).await.is_ok_and(|held| held == Reserved::Held)
            }
            15..20 => stock
                .reserve(&reservation(order, &[("soy", 1), ("chili", 1000)]))
                .await
                .is_ok_and(|held| matches!(held, Reserved::OutOfStock { .. })),
            _ => stock.commit(&of(order)).await.is_err(),
        }
    }));
    assert_eq!(outcomes.await, [true; 21]);
    assert_eq!(shelves(&stock).await, [(Some(90), 5), (Some(100), 0)]);
}

#[tokio::test]
async fn untracked_stock_is_never_short() {
    let stock = stock(None).await;
    let order = OrderId::from_bits(1);
    assert_eq!(stock.reserve(&reservation(&order, &[("chili", 999)])).await.expect("answers"), Reserved::Held);
    stock.commit(&of(&order)).await.expect("commits");
    assert_eq!(stock.restock(&of(&order)).await.expect("restocks"), Undo::Undone);
    assert_eq!(shelves(&stock).await, [(None, 0), (None, 0)]);
}

#[tokio::test]
async fn products_are_found_by_merchant_and_sku_and_keep_what_is_held() {
    let stock = stock(Some(10)).await;
    let other = Product { merchant_id: "sauce-shop-2".parse().expect("valid"), ..product("chili", None) };
    stock.put_product(&other).await.expect("saves");
    let named = ["soy", "nope"].map(|sku| sku.parse().expect("valid"));
    let found = stock.products(&ProductQuery { merchant_id: shop(), skus: named.to_vec() }).await;
    assert_eq!(found.expect("lists"), [product("soy", Some(10))]);
    // What is asked at the same time is read together.
    let find = async |merchant_id: MerchantId, skus: [&str; 2]| {
        let skus = skus.map(|sku| sku.parse().expect("valid")).to_vec();
        stock.products(&ProductQuery { merchant_id, skus }).await.expect("lists")
    };
    for _ in 0..10 {
        let (ours, theirs, nobodys, same) = tokio::join!(
            find(shop(), ["soy", "chili"]),
            find(other.merchant_id.clone(), ["soy", "chili"]),
            find(shop(), ["nope", "no"]),
            find(shop(), ["soy", "soy"]),
        );
        assert_eq!(ours, [product("chili", Some(10)), product("soy", Some(10))]);
        assert_eq!(theirs, std::slice::from_ref(&other));
        assert_eq!(nobodys, []);
        assert_eq!(same, [product("soy", Some(10))]);
    }
    assert_eq!(stock.products(&all(other.merchant_id.clone())).await.expect("lists"), [other]);

    stock.reserve(&reservation(&OrderId::from_bits(1), &[("chili", 4)])).await.expect("holds");
    let below = stock.put_product(&product("chili", Some(3))).await.expect("answers");
    assert_eq!(below, ProductPut::BelowReserved { reserved: 4 });
    stock.put_product(&product("chili", Some(4))).await.expect("saves");
    assert_eq!(shelves(&stock).await[0], (Some(4), 4));
}
