//! Attempts: what a receiver gets, and what follows from its answer.

use super::*;
use chrono::TimeDelta;

fn assert_near(delay: Option<Duration>, expected: Duration) {
    let delay = delay.expect("it is tried again");
    assert!(delay >= expected && delay <= expected.mul_f64(1.1), "{delay:?}, not about {expected:?}");
}

/// One message on its way to the receiver, which has only so long to answer.
async fn impatient(receiver: &Receiver, attempt_timeout: Duration) -> (Arc<BuiltIn>, MessageId) {
    let (notifications, _) = with(NotificationSettings { attempt_timeout, ..settings() }).await;
    put(&notifications, &webhook("till", &receiver.url, &[])).await;
    let id = notifications.send(&paid(order(1))).await.expect("sends").remove(0);
    (notifications, id)
}

#[tokio::test]
async fn every_attempt_sends_the_same_signed_message() {
    let receiver = Receiver::start().await;
    let (notifications, id, secret) = one_message(&receiver).await;
    receiver.will([Reply::Status(500)]);
    assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
    assert_eq!(attempt(&notifications, &id, 1).await, Attempted::Delivered);
    assert_eq!(replay(&notifications, &id).await, Attempted::Delivered);

    let heard = receiver.heard();
    assert_eq!(heard.len(), 3);
    let verifier = standardwebhooks::Webhook::new(&secret.0).expect("a secret");
    for Heard { path, headers, body } in &heard {
        verifier.verify(body, headers).expect("the signature is right");
        assert_eq!((path.as_str(), body), ("/hook", &heard[0].body));
    }
    for heard in &heard {
        assert_eq!(heard.header("webhook-id"), id.as_str());
        assert_eq!(heard.header("content-type"), "application/json");
        assert_eq!(heard.header("user-agent"), concat!("jumun/", env!("CARGO_PKG_VERSION")));
    }
    let body = json!({
        "type": "order_paid",
        "timestamp": "2025-03-01T09:00:00.123456Z",
        "data": {
            "order_id": order(1), "merchant_id": "pizza", "number": 3, "status": "paid", "status_changed": true,
            "reason": null, "total": { "amount": 12_000, "currency": "KRW" },
        },
    });
    assert_eq!(heard[0].json(), body);

    let kept = message(&notifications, &id).await;
    assert_eq!(kept.state, MessageState::Delivered);
    let kept: Vec<_> = kept.attempts.iter().map(|attempt| (attempt.status_code, attempt.error.is_some())).collect();
    assert_eq!(kept, [(Some(500), true), (Some(200), false), (Some(200), false)]);
}

#[tokio::test]
async fn where_only_the_internet_is_called_nobody_looks_into_our_network() {
    let receiver = Receiver::start().await;
    let port = receiver.url.rsplit_once(':').expect("a port").1;
    let (notifications, _) = with(NotificationSettings { webhooks_to: Some(WebhooksTo::Public), ..settings() }).await;
    for (n, host) in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"].into_iter().enumerate() {
        put(&notifications, &webhook("till", &format!("http://{host}:{port}"), &[])).await;
        let id = notifications.send(&paid(order(n as u128))).await.expect("sends").remove(0);
        assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
        let attempts = message(&notifications, &id).await.attempts;
        assert_eq!((attempts[0].status_code, attempts[0].error.is_some()), (None, true), "{host}");
    }
    assert_eq!(receiver.heard().len(), 0);
}

#[tokio::test]
async fn what_is_delivered_is_not_sent_again_unless_somebody_asks() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    for failures in 0..3 {
        assert_eq!(attempt(&notifications, &id, failures).await, Attempted::Delivered);
    }
    assert_eq!(receiver.heard().len(), 1);
    receiver.will([Reply::Status(500)]);
    assert_eq!(delay(replay(&notifications, &id).await), None, "by hand, it is tried once");
    assert_eq!(receiver.heard().len(), 1);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Delivered, "it did arrive before");
    assert_eq!(message(&notifications, &id).await.attempts.len(), 2);
}

#[tokio::test]
async fn a_message_fails_when_its_schedule_is_over_and_can_be_sent_by_hand() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    receiver.will((0..4).map(|_| Reply::Status(503)));
    for (failures, wait) in (0..).zip(SCHEDULE) {
        assert_near(delay(attempt(&notifications, &id, failures).await), wait);
        assert_eq!(message(&notifications, &id).await.state, MessageState::Pending);
    }
    assert_eq!(delay(attempt(&notifications, &id, 2).await), None);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Failed);
    assert_eq!(receiver.heard().len(), 3);
    assert_eq!(delay(attempt(&notifications, &id, 2).await), None, "repeated, it asks nobody");
    assert!(receiver.heard().is_empty());

    assert_eq!(delay(replay(&notifications, &id).await), None);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Failed);
    assert_eq!(replay(&notifications, &id).await, Attempted::Delivered);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Delivered);
}

#[tokio::test]
async fn a_failed_replay_leaves_a_pending_message_to_its_schedule() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    receiver.will([Reply::Status(410)]);
    assert_eq!(delay(replay(&notifications, &id).await), None);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Pending);
    assert_eq!(attempt(&notifications, &id, 0).await, Attempted::Delivered);
}

#[tokio::test]
async fn gone_gives_a_message_up_at_once() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    receiver.will([Reply::Status(410)]);
    assert_eq!(delay(attempt(&notifications, &id, 0).await), None);
    assert_eq!(message(&notifications, &id).await.state, MessageState::Failed);
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_given_it() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    let in_an_hour = (Utc::now() + TimeDelta::hours(1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let hour = Duration::from_hours(1);
    for (status, header, least, most) in [
        (429, "60".to_owned(), Duration::from_mins(1), Duration::from_mins(1)),
        (503, "60".to_owned(), Duration::from_mins(1), Duration::from_mins(1)),
        (503, in_an_hour, Duration::from_secs(3590), hour),
        (429, "999999999".to_owned(), Duration::from_hours(24), Duration::from_hours(24)),
        // Shorter than the schedule has it, not understood, in the past, or not for this status.
        (429, "1".to_owned(), SCHEDULE[0], SCHEDULE[0].mul_f64(1.1)),
        (429, "soon".to_owned(), SCHEDULE[0], SCHEDULE[0].mul_f64(1.1)),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), SCHEDULE[0], SCHEDULE[0].mul_f64(1.1)),
        (500, "60".to_owned(), SCHEDULE[0], SCHEDULE[0].mul_f64(1.1)),
    ] {
        receiver.will([Reply::With(status, "retry-after", header.clone())]);
        let delay = delay(attempt(&notifications, &id, 0).await).expect("it is tried again");
        assert!(delay >= least && delay <= most, "{status} {header}: {delay:?}");
    }
    receiver.will([Reply::With(429, "retry-after", "60".to_owned())]);
    assert_eq!(delay(attempt(&notifications, &id, 2).await), None, "it does not make the schedule longer");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let (notifications, id, _) = one_message(&receiver).await;
    receiver.will([Reply::With(307, "location", elsewhere.url.clone())]);
    assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
    assert!(elsewhere.heard().is_empty());
    assert_eq!(message(&notifications, &id).await.attempts[0].status_code, Some(307));
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_time_has_not_got_it() {
    let receiver = Receiver::start().await;
    let (notifications, id) = impatient(&receiver, Duration::from_millis(200)).await;
    receiver.will([Reply::Silence]);
    let started = std::time::Instant::now();
    assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let attempts = message(&notifications, &id).await.attempts;
    assert_eq!((attempts[0].status_code, attempts[0].error.as_deref()), (None, Some("no answer in time")));
    assert!(attempts[0].duration_ms >= 200, "{attempts:?}");
}

#[tokio::test]
async fn an_attempt_that_fails_while_another_delivers_takes_nothing_back() {
    let receiver = Receiver::start().await;
    let (notifications, id) = impatient(&receiver, Duration::from_secs(2)).await;
    receiver.will([Reply::Silence]);
    let silent = tokio::spawn({
        let (notifications, id) = (notifications.clone(), id.clone());
        async move { attempt(&notifications, &id, 2).await }
    });
    let asked = async {
        while receiver.heard().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("it asks");
    assert_eq!(replay(&notifications, &id).await, Attempted::Delivered);
    assert_eq!(silent.await.expect("no panic"), Attempted::Delivered);
    let kept = message(&notifications, &id).await;
    assert_eq!((kept.state, kept.attempts.len()), (MessageState::Delivered, 2));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    put(&notifications, &webhook("till", &format!("http://{nobody}/"), &[])).await;
    assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
    assert_eq!(message(&notifications, &id).await.attempts[0].error.as_deref(), Some("could not connect"));
    put(&notifications, &webhook("till", &receiver.url, &[])).await;
    assert_eq!(attempt(&notifications, &id, 1).await, Attempted::Delivered, "it goes where the webhook is now");
}

#[tokio::test]
async fn the_latest_attempts_are_kept() {
    let receiver = Receiver::start().await;
    let (notifications, id, _) = one_message(&receiver).await;
    receiver.will((0..10).map(|_| Reply::Status(500)));
    for _ in 0..55 {
        replay(&notifications, &id).await;
    }
    let attempts = message(&notifications, &id).await.attempts;
    assert_eq!(attempts.len(), history::ATTEMPTS as usize);
    assert_eq!(attempts.iter().filter(|attempt| attempt.error.is_some()).count(), 5, "the oldest five are gone");
    assert!(attempts.is_sorted_by_key(|attempt| attempt.at));
}

fn templates(endpoint: &str) -> TemplateSettings {
    let template = Template { code: "ORDER_PAID".to_owned(), text: "#{name}, #{total}: #{status} #{other}".to_owned() };
    TemplateSettings {
        endpoint: endpoint.to_owned(),
        api_key: Secret("key-1".to_owned()),
        sender_key: Secret("sender-1".to_owned()),
        templates: [(Status::Paid, template)].into(),
    }
}

#[tokio::test]
async fn customers_are_told_by_template() {
    let receiver = Receiver::start().await;
    let (notifications, _) =
        with(NotificationSettings { template: Some(templates(&receiver.url)), ..settings() }).await;
    put(&notifications, &webhook("a", "http://127.0.0.1:9/", &["order_paid"])).await;
    let unchanged = event(4, "payment_approved", Status::Paid, false);
    let notice = Notice { events: [notice(order(1)).events, vec![unchanged]].concat(), ..notice(order(1)) };
    let sent = notifications.send(&notice).await.expect("sends");
    let id = order(1).notification(3).message(&Channel::Template);
    assert_eq!((sent.len(), &sent[0]), (2, &id), "only a change whose status has a template, and before webhooks");

    receiver.will([Reply::Status(500)]);
    assert_near(delay(attempt(&notifications, &id, 0).await), SCHEDULE[0]);
    assert_eq!(attempt(&notifications, &id, 1).await, Attempted::Delivered);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].body, heard[1].body);
    assert_eq!(heard[0].header("authorization"), "Bearer key-1");
    assert_eq!(heard[0].header("content-type"), "application/json");
    let body = json!({
        "message_id": id, "sender_key": "sender-1", "template_code": "ORDER_PAID", "recipient": "010-1234-5678",
        "text": "Kim, 12,000 KRW: 결제완료 #{other}",
        "variables": {
            "order_id": order(1), "name": "Kim", "status": "결제완료", "total": "12,000 KRW", "reason": "",
        },
    });
    assert_eq!(heard[0].json(), body);
}
