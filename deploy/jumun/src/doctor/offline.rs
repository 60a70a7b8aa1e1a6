//! The stores of a jumun that is stopped, opened as it opens them itself.

use std::io;
use std::sync::Arc;

use activities::{Activities, CardKeys, Modes, Setup, Store};
use workflows::Context;
use workflows::order::proof::{self, Moment, Proof, Unproved};

use super::DoctorError;
use super::finding::{Check, Findings};
use crate::config::Configuration;
use crate::data_dir::DataDir;
use crate::local;

pub async fn examine(dir: &DataDir, configuration: &Configuration, findings: &mut Findings) -> Result<(), DoctorError> {
    let payment_store = local::payment_store(configuration)?;
    let setup = Setup {
        store: match &configuration.store {
            Some(server) => server.connect().await?,
            None => Store::open(&dir.store_url()?).await?,
        },
        payment_store: payment_store.as_ref().map(|store| store.address().to_owned()),
        // No card is opened here.
        card_keys: CardKeys::draw().parse().expect("it was drawn as a key"),
        remote: configuration.providers.iter().map(|(context, url)| (*context, url.to_string())).collect(),
        notifications: configuration.notifications.clone(),
        modes: Arc::new(Modes::default()),
    };
    let activities = Activities::open(&setup).await?;
    orders(&setup.store, findings).await?;
    money(&activities, configuration, findings).await?;
    Ok(())
}

async fn orders(store: &Store, findings: &mut Findings) -> Result<(), DoctorError> {
    let found = activities::examine_orders(store).await?;
    for fault in &found.faults {
        match &fault.order_id {
            Some(order_id) => findings.wrong_order(Check::Orders, order_id, &fault.what)?,
            None => findings.wrong(Check::Orders, &fault.what)?,
        }
    }
    if found.wrong == 0 {
        let says =
            format!("{} orders are what their {} events tell; feed and tallies agree", found.orders, found.events);
        findings.fine(Check::Orders, says)?;
    }
    Ok(())
}

async fn money(
    activities: &Activities,
    configuration: &Configuration,
    findings: &mut Findings,
) -> Result<(), DoctorError> {
    // Nothing moves, so there is nothing to wait for.
    let pause = || -> Moment { Box::pin(std::future::ready(())) };
    match proof::prove(&*activities.orders, &*activities.payments, &pause).await {
        Ok(proof) => Ok(tell(&proof, findings)?),
        Err(unproved) => {
            let elsewhere =
                matches!(unproved, Unproved::Payments(_)) && configuration.providers.contains_key(&Context::Payment);
            let where_ = if elsewhere { " (payment is a process of its own; it has to run)" } else { "" };
            Ok(findings.unseen(Check::Money, format!("{unproved}{where_}"))?)
        }
    }
}

fn tell(proof: &Proof, findings: &mut Findings) -> io::Result<()> {
    for entry in &proof.unbalanced.first {
        let (kind, currency) = (entry.kind.as_str(), entry.currency.code());
        let says = format!("the {kind} of {} sums to {} {currency}", entry.payment_id, entry.sum);
        findings.wrong(Check::Money, says)?;
    }
    for found in &proof.disagreements.first {
        let status = found.status.map_or("not to be found", workflows::Status::as_str);
        let says = format!("it is {status}: expected {}, found {}", found.expected, found.found);
        findings.wrong_order(Check::Money, &found.order_id, says)?;
    }
    for sums in proof.currencies.iter().filter(|sums| sums.total() != 0) {
        findings.wrong(Check::Money, format!("all postings in {} sum to {}", sums.currency.code(), sums.total()))?;
    }
    let counts = format!("{} orders, {} payments, {} entries", proof.orders, proof.payments, proof.entries);
    if proof.is_clean() {
        return findings.fine(Check::Money, format!("{counts}: balanced, and as the orders say"));
    }
    let (unbalanced, disagreements) = (proof.unbalanced.count, proof.disagreements.count);
    findings.wrong(Check::Money, format!("{counts}: {unbalanced} unbalanced, {disagreements} not as their orders say"))
}
