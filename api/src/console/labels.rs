//! What the closed sets of jumun are called: statuses, commands, gates, events, steps. Every `match` names all of a set, so
//! that what is added to one cannot be forgotten here.

use workflows::lifecycle::CouponRule;
use workflows::order::Language;
use workflows::payment::EntryKind;
use workflows::promotion::CouponState;
use workflows::{Command, Context, DeliveryState, Gate, PaymentMethod, PaymentState, Role, Step};

use super::client::Told;

/// What people call a value of a closed set.
pub(super) trait Label {
    /// In English and in Korean.
    fn names(&self) -> [&'static str; 2];

    fn label(&self, language: Language) -> &'static str {
        let [english, korean] = self.names();
        match language {
            Language::English => english,
            Language::Korean => korean,
        }
    }
}

/// The title of a problem, as the API has it in English.
pub(super) fn problem(told: &Told, language: Language) -> &str {
    let korean = match &*told.kind {
        "/problems/invalid-request" => "잘못된 요청",
        "/problems/unauthenticated" => "로그인이 필요합니다",
        "/problems/payment-declined" => "결제가 거절되었습니다",
        "/problems/forbidden" => "권한이 없습니다",
        "/problems/not-found" => "찾을 수 없습니다",
        "/problems/out-of-stock" => "재고가 부족합니다",
        "/problems/price-changed" => "가격이 바뀌었습니다",
        "/problems/order-cancelled" => "주문이 취소되었습니다",
        "/problems/command-not-allowed" => "지금은 할 수 없습니다",
        "/problems/count-changed" => "건수가 바뀌었습니다",
        "/problems/nothing-to-retry" => "다시 시도할 것이 없습니다",
        "/problems/stock-reserved" => "열린 주문에 잡힌 재고입니다",
        "/problems/unknown-merchant" => "없는 판매자입니다",
        "/problems/unknown-product" => "없는 상품입니다",
        "/problems/unknown-lifecycle" => "없는 주문 흐름입니다",
        "/problems/invalid-lifecycle" => "주문 흐름에 잘못이 있습니다",
        "/problems/payment-method-not-accepted" => "받지 않는 결제 수단입니다",
        "/problems/currency-mismatch" => "통화가 맞지 않습니다",
        "/problems/too-many-requests" => "요청이 너무 많습니다",
        "/problems/try-again-later" => "잠시 뒤에 다시 시도해 주세요",
        "/problems/upstream-unavailable" => "연결된 서비스가 응답하지 않습니다",
        "/problems/not-ready" => "아직 준비되지 않았습니다",
        "/problems/internal" => "내부 오류입니다",
        _ => return &told.title,
    };
    match language {
        Language::Korean => korean,
        Language::English => &told.title,
    }
}

impl Label for Role {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Customer => ["customer", "고객"],
            Self::Merchant => ["merchant", "판매자"],
            Self::Courier => ["courier", "배송원"],
            Self::Operator => ["operator", "운영자"],
        }
    }
}

impl Label for Command {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::ConfirmDeposit => ["Confirm the deposit", "입금확인"],
            Self::Accept => ["Accept", "주문수락"],
            Self::Reject => ["Reject", "주문거절"],
            Self::StartProduction => ["Start production", "제작 시작"],
            Self::FinishProduction => ["Finish production", "제작 완료"],
            Self::StartDelivery => ["Pick up", "배송 시작"],
            Self::CompleteDelivery => ["Handed over", "배송 완료"],
            Self::ConfirmReceipt => ["Confirm receipt", "수령확인"],
            Self::Cancel => ["Cancel", "주문취소"],
        }
    }
}

impl Label for Gate {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Deposit => ["deposit", "입금확인"],
            Self::Acceptance => ["acceptance", "수락"],
            Self::ProductionStart => ["start of production", "제작 시작"],
            Self::ProductionFinish => ["end of production", "제작 완료"],
            Self::Dispatch => ["pick-up", "배송 시작"],
            Self::Handover => ["handover", "전달"],
            Self::Receipt => ["receipt", "수령확인"],
        }
    }
}

impl Label for Context {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Payment => ["payment", "결제"],
            Self::Stock => ["stock", "재고"],
            Self::Delivery => ["delivery", "배송"],
            Self::Kitchen => ["kitchen", "주방"],
            Self::Promotion => ["promotion", "프로모션"],
            Self::Notification => ["notification", "알림"],
        }
    }
}

impl Label for PaymentMethod {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Card => ["card", "카드"],
            Self::Deposit => ["bank transfer", "무통장 입금"],
        }
    }
}

impl Label for PaymentState {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::None => ["none", "없음"],
            Self::Pending => ["pending", "대기"],
            Self::Approved => ["approved", "승인"],
            Self::Declined => ["declined", "거절"],
            Self::Cancelled => ["cancelled", "취소"],
            Self::Refunded => ["refunded", "환불"],
        }
    }
}

impl Label for DeliveryState {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Requested => ["requested", "요청됨"],
            Self::InDelivery => ["in delivery", "배송중"],
            Self::Delivered => ["delivered", "배송완료"],
            Self::Cancelled => ["cancelled", "취소"],
        }
    }
}

impl Label for CouponState {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Issued => ["issued", "발급"],
            Self::Cancelled => ["cancelled", "취소"],
        }
    }
}

impl Label for CouponRule {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::BeforeDelivery => ["before delivery", "배송 전"],
            Self::AfterDelivery => ["after delivery", "배송 후"],
        }
    }
}

impl Label for EntryKind {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Charge => ["charge", "결제"],
            Self::Deposit => ["deposit", "입금"],
            Self::Refund => ["refund", "환불"],
        }
    }
}

impl Label for Step {
    fn names(&self) -> [&'static str; 2] {
        match self {
            Self::OrderPlace => ["place the order", "주문 접수"],
            Self::StockReserve => ["reserve stock", "재고 예약"],
            Self::StockRelease => ["release stock", "재고 예약 해제"],
            Self::PaymentCharge => ["charge the card", "카드 결제"],
            Self::PaymentRefund => ["refund the payment", "결제 환불"],
            Self::PaymentOpenDeposit => ["ask for the deposit", "입금 요청"],
            Self::PaymentCloseDeposit => ["close the deposit", "입금 요청 취소"],
            Self::PaymentConfirmDeposit => ["confirm the deposit", "입금확인"],
            Self::PaymentReturnDeposit => ["give the deposit back", "입금 반환"],
            Self::StockCommit => ["sell the stock", "재고 차감"],
            Self::StockRestock => ["put the stock back", "재고 되돌림"],
            Self::KitchenOffer => ["offer it to the shop", "가게에 전달"],
            Self::KitchenWithdraw => ["withdraw it from the shop", "가게 전달 취소"],
            Self::OrderAccept => ["accept the order", "주문 수락"],
            Self::KitchenStart => ["start production", "제작 시작"],
            Self::KitchenFinish => ["finish production", "제작 완료"],
            Self::KitchenStop => ["stop production", "제작 중단"],
            Self::PromotionIssue => ["issue the coupon", "쿠폰 발급"],
            Self::PromotionRevoke => ["revoke the coupon", "쿠폰 취소"],
            Self::DeliveryRequest => ["request delivery", "배송 요청"],
            Self::DeliveryStart => ["start delivery", "배송 시작"],
            Self::DeliveryComplete => ["complete delivery", "배송 완료"],
            Self::DeliveryCancel => ["cancel delivery", "배송 취소"],
            Self::OrderExpire => ["let the deadline pass", "기한 만료"],
            Self::OrderClose => ["close the order", "주문 종료"],
            Self::OrderRequestCancellation => ["take the cancel", "취소 접수"],
            Self::OrderCancel => ["cancel the order", "주문 취소"],
            Self::OrderReject => ["reject the order", "주문 거절"],
            Self::NotificationSend => ["notify", "알림"],
            Self::NotificationDeliver => ["deliver a message", "메시지 전달"],
        }
    }
}

/// What became true, by the event's type; an event that is not known here is called by its type.
pub(super) fn event(kind: &str, language: Language) -> &str {
    let [english, korean] = match kind {
        "order_placed" => ["Order placed", "주문접수"],
        "stock_reserved" => ["Stock reserved", "재고 예약"],
        "stock_unavailable" => ["Out of stock", "재고 부족"],
        "payment_approved" => ["Payment approved", "결제 승인"],
        "payment_declined" => ["Payment declined", "결제 거절"],
        "deposit_requested" => ["Deposit requested", "입금 요청"],
        "deposit_confirmed" => ["Deposit confirmed", "입금확인"],
        "deposit_expired" => ["Deposit did not come", "입금 기한 만료"],
        "order_paid" => ["Paid", "결제완료"],
        "stock_committed" => ["Stock sold", "재고 차감"],
        "coupon_issued" => ["Coupon issued", "쿠폰 발급"],
        "coupon_cancelled" => ["Coupon cancelled", "쿠폰 취소"],
        "order_offered" => ["Offered to the shop", "가게에 전달"],
        "order_accepted" => ["Accepted", "주문수락"],
        "production_started" => ["Production started", "제작 시작"],
        "production_finished" => ["Production finished", "제작 완료"],
        "delivery_requested" => ["Delivery requested", "배송 요청"],
        "delivery_started" => ["Delivery started", "배송 시작"],
        "delivery_completed" => ["Delivered", "배송완료"],
        "receipt_confirmed" => ["Receipt confirmed", "수령확인"],
        "order_closed" => ["Closed", "주문 종료"],
        "cancellation_requested" => ["Cancel requested", "취소 요청"],
        "delivery_cancelled" => ["Delivery cancelled", "배송 취소"],
        "payment_cancelled" => ["Payment cancelled", "결제취소"],
        "stock_released" => ["Stock released", "재고 되돌림"],
        "order_cancelled" => ["Cancelled", "주문취소"],
        "order_rejected" => ["Rejected", "주문거절"],
        unknown => return unknown,
    };
    match language {
        Language::English => english,
        Language::Korean => korean,
    }
}
