//! Messages to customers by template, by configuration alone.
//! R24.

use std::time::Duration;

use serde_json::json;
use tests::{Jumun, Receiver, Shop};

#[tokio::test]
async fn customers_are_told_by_the_templates_of_the_configuration() {
    let service = Receiver::start().await;
    let key = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(key.path(), "the-api-key\n").expect("writes");
    let configuration = format!(
        r##"
        [notifications]
        schedule = ["300ms", "300ms"]
        [notifications.template]
        endpoint = "{}/v1/send"
        api_key_file = "{}"
        sender_key = "the-sender"
        [notifications.template.templates.paid]
        code = "ORDER_PAID"
        text = "#{{name}}님, #{{order_id}} #{{total}}: #{{status}}"
        [notifications.template.templates.closed]
        code = "ORDER_CLOSED"
        text = "#{{status}}"
        "##,
        service.url,
        key.path().display()
    );
    let jumun = Jumun::configured(&configuration).await;
    let shop = Shop::open(&jumun).await;
    service.answer(&[502]);
    let order = shop.placed().await;
    jumun.drive(&order, "closed").await;

    let received = service.receives(3).await;
    for message in &received {
        assert_eq!((message.path.as_str(), message.header("authorization")), ("/v1/send", "Bearer the-api-key"));
        let body = message.json();
        assert_eq!((&body["sender_key"], &body["recipient"]), (&json!("the-sender"), &json!("010-1234-5678")));
    }
    let [failed, paid, closed] = [0, 1, 2].map(|index| received[index].json());
    assert_eq!(failed, paid, "the same message once more");
    assert!(received[1].at - received[0].at >= Duration::from_millis(300));
    assert_eq!(paid["template_code"], "ORDER_PAID");
    assert_eq!(paid["text"], format!("Kim님, {order} 9,000 KRW: 결제완료"));
    assert_eq!((&closed["template_code"], &closed["text"]), (&json!("ORDER_CLOSED"), &json!("수령확인")));
    assert_ne!(paid["message_id"], closed["message_id"]);
    assert_eq!(service.received().len(), 3, "a status without a template sends nothing");

    let history = jumun.get(&format!("/v1/notifications?order_id={order}")).await.ok();
    let channels: Vec<_> = history["items"].as_array().expect("a list").iter().map(|item| &item["messages"]).collect();
    assert_eq!(channels.iter().filter(|messages| messages.as_array().is_some_and(Vec::is_empty)).count(), 3);
}
