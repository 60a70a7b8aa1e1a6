//! An order as its readers see it, and as the people in it move it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use workflows::{Command, Role};

use crate::{CUSTOMER, Jumun, until};

/// No lifecycle asks for as many, even if some are lost and given again.
const MOST_COMMANDS: usize = 40;

impl Jumun {
    pub async fn order(&self, order_id: &str) -> Value {
        self.get(&format!("/v1/orders/{order_id}")).await.ok()
    }

    /// The order with the commands that it takes now from those whose they are: the customer, its merchant and the
    /// courier. (That merchants and operators may cancel, too, is left out.)
    async fn with_commands(&self, order: Value) -> Option<Value> {
        let (id, merchant_id) = (order["id"].as_str()?.to_owned(), order["merchant_id"].as_str()?.to_owned());
        let people = [
            (Role::Customer, CUSTOMER, None),
            (Role::Merchant, "merchant", Some(merchant_id.as_str())),
            (Role::Courier, "courier", None),
        ];
        let (mut newest, mut takes) = (order, Vec::new());
        for (role, subject, merchant_id) in people {
            let seen = self.as_role(role, subject, merchant_id);
            let seen = self.try_send(seen.request(reqwest::Method::GET, &format!("/v1/orders/{id}"))).await.ok()?;
            // Who does not see the order has nothing to do with it now.
            let allowed: Vec<Command> =
                serde_json::from_value(seen.body["allowed_commands"].clone()).unwrap_or_default();
            takes.extend(allowed.into_iter().filter(|command| command.roles().first() == Some(&role)));
            if seen.body["version"].as_u64() > newest["version"].as_u64() {
                newest = seen.body;
            }
        }
        takes.sort();
        newest["allowed_commands"] = json!(takes);
        Some(newest)
    }

    /// Waits until the order has `status`, and returns it.
    pub async fn reaches(&self, order_id: &str, status: &str) -> Value {
        until(&format!("{order_id} to be {status}"), async || {
            let answer = self.try_get(&format!("/v1/orders/{order_id}")).await.ok()?;
            if answer.status == 200 && answer.body["status"] == status {
                return self.with_commands(answer.body).await;
            }
            None
        })
        .await
    }

    /// Waits until the order takes the command, and returns it.
    pub async fn takes(&self, order_id: &str, command: &str) -> Value {
        let mut looked = Looked::default();
        until(&format!("{order_id} to take {command}"), async || {
            let order = self.try_get(&format!("/v1/orders/{order_id}")).await.ok()?.body;
            let order = looked.at(self, order).await?;
            order["allowed_commands"].as_array().is_some_and(|takes| takes.contains(&json!(command))).then_some(order)
        })
        .await
    }

    /// Asks the command as soon as the order takes it, and returns the order.
    pub async fn ask(&self, order_id: &str, command: &str) -> Value {
        self.takes(order_id, command).await;
        self.command(order_id, command).await.ok()
    }

    /// Does what the order asks people for, until it has `status`.
    pub async fn drive(&self, order_id: &str, status: &str) -> Value {
        let mut looked = Looked::default();
        for _ in 0..MOST_COMMANDS {
            let (order, command) = until(&format!("{order_id} to be {status}"), async || {
                let order = self.try_get(&format!("/v1/orders/{order_id}")).await.ok()?.body;
                if order["status"] == status {
                    return Some((order, None));
                }
                let order = looked.at(self, order).await?;
                // It may have come there meanwhile, and must not be taken further.
                if order["status"] == status {
                    return Some((order, None));
                }
                let mut takes = order["allowed_commands"].as_array()?.iter().filter_map(Value::as_str);
                let command = takes.find(|command| !matches!(*command, "cancel" | "reject"))?.to_owned();
                Some((order, Some(command)))
            })
            .await;
            let Some(command) = command else { return order };
            let command = self.request(reqwest::Method::POST, &format!("/v1/orders/{order_id}/{command}"));
            let _ = self.try_send(command).await;
        }
        panic!("{order_id} is not {status} after {MOST_COMMANDS} commands")
    }

    /// Waits until the event is among the order's.
    pub async fn sees(&self, order_id: &str, event: &str) {
        until(&format!("{event} of {order_id}"), async || {
            self.event_names(order_id).await.contains(&event.to_owned()).then_some(())
        })
        .await;
    }

    /// An order's events.
    pub async fn events(&self, order_id: &str) -> Vec<Value> {
        let events = self.get(&format!("/v1/orders/{order_id}/events")).await.ok();
        let events = events["items"].as_array().expect("a list").clone();
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event["number"], index + 1, "numbered without gaps: {events:#?}");
        }
        events
    }

    /// The names of an order's events, in order.
    pub async fn event_names(&self, order_id: &str) -> Vec<String> {
        let events = self.events(order_id).await;
        events.iter().map(|event| event["type"].as_str().expect("a name").to_owned()).collect()
    }

    /// An order's ledger entries, each of which must balance.
    async fn ledger(&self, order_id: &str) -> Vec<Value> {
        let payments = self.get(&format!("/v1/payments?order_id={order_id}")).await.ok();
        let payments = payments["items"].as_array().expect("a list");
        let entries: Vec<Value> =
            payments.iter().flat_map(|payment| payment["entries"].as_array().expect("entries")).cloned().collect();
        for entry in &entries {
            let postings = entry["postings"].as_array().expect("postings");
            let sum: i64 = postings.iter().map(amount).sum();
            assert!(sum == 0 && postings.len() >= 2, "unbalanced: {entry:#?}");
        }
        entries
    }

    /// The kinds of an order's ledger entries, each of which must balance.
    pub async fn entries(&self, order_id: &str) -> Vec<String> {
        let entries = self.ledger(order_id).await;
        entries.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// Waits until the order's money matches its status, which must be a final one: all of it for a closed order, in one
    /// entry, and none of it on any account for every other.
    pub async fn settles(&self, order_id: &str) {
        let order = self.order(order_id).await;
        let closed = order["status"] == "closed";
        assert!(closed || matches!(order["status"].as_str(), Some("cancelled" | "rejected")), "{order:#?}");
        until(&format!("the money of {order_id}"), async || {
            let entries = self.ledger(order_id).await;
            let mut accounts = BTreeMap::<&str, i64>::new();
            for posting in entries.iter().flat_map(|entry| entry["postings"].as_array().expect("postings")) {
                *accounts.entry(posting["account"].as_str().expect("an account")).or_default() += amount(posting);
            }
            let kinds: BTreeSet<_> = entries.iter().map(|entry| entry["kind"].as_str()).collect();
            assert_eq!(kinds.len(), entries.len(), "twice: {entries:#?}");
            let taken: i64 = accounts.values().filter(|amount| **amount > 0).sum();
            let expected = if closed { order["total"]["amount"].as_i64() } else { Some(0) };
            (Some(taken) == expected).then_some(())
        })
        .await;
    }

    /// The money proof.
    pub async fn proof(&self) -> Value {
        self.get("/v1/ledger/proof").await.ok()
    }

    /// Asserts that the money is all there, and where the orders say that it is.
    pub async fn proves_clean(&self) -> Value {
        let proof = self.proof().await;
        assert_eq!(proof["clean"], true, "{proof:#}");
        proof
    }

    /// Asserts that nothing became true of the order twice.
    pub async fn each_fact_once(&self, order_id: &str) {
        let events = self.event_names(order_id).await;
        let distinct: BTreeSet<_> = events.iter().collect();
        assert_eq!(distinct.len(), events.len(), "{order_id}: {events:?}");
    }

    /// The statuses that the order's notifications tell, in order.
    pub async fn notified(&self, order_id: &str) -> Vec<String> {
        let listed = self.get(&format!("/v1/notifications?order_id={order_id}")).await.ok();
        let items = listed["items"].as_array().expect("a list");
        items.iter().map(|item| item["status"].as_str().expect("a status").to_owned()).collect()
    }

    /// Waits until so many statuses were notified, and returns them.
    pub async fn notifies(&self, order_id: &str, last: &str) -> Vec<String> {
        until(&format!("{last} to be notified of {order_id}"), async || {
            let notified = self.notified(order_id).await;
            (notified.last().is_some_and(|status| status == last)).then_some(notified)
        })
        .await
    }

    pub async fn sandbox(&self, context: &str, mode: &str) {
        let _ = self.put(&format!("/v1/sandbox/{context}"), &json!({ "mode": mode })).await.ok();
    }
}

/// When the people of an order were asked last what they may do: while nothing has become true of it, that is the same,
/// and many who wait do not keep the system from what they wait for. A command may have been lost, though.
#[derive(Default)]
pub struct Looked {
    version: Option<u64>,
    since: u32,
}

impl Looked {
    /// So many times is nothing asked in vain.
    const PATIENCE: u32 = 8;

    /// The order with the commands that it takes now, where they may be others than before.
    pub async fn at(&mut self, jumun: &Jumun, order: Value) -> Option<Value> {
        if self.again(&order) { jumun.with_commands(order).await } else { None }
    }

    fn again(&mut self, order: &Value) -> bool {
        let version = order["version"].as_u64();
        self.since += 1;
        let again = self.version != version || self.since >= Self::PATIENCE;
        if again {
            *self = Self { version, since: 0 };
        }
        again
    }
}

fn amount(posting: &Value) -> i64 {
    posting["amount"]["amount"].as_i64().expect("money")
}
