//! Every word of the console, in both languages. A text that lacks one of them does not compile.

use workflows::order::Language;

macro_rules! texts {
    ($($name:ident: $english:literal, $korean:literal;)+) => {
        /// Something that the console says. `{0}` and `{1}` stand for what is filled in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Text {
            $($name,)+
        }

        impl Text {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)+];

            pub(super) const fn within(self, language: Language) -> &'static str {
                match (language, self) {
                    $(
                        (Language::English, Self::$name) => $english,
                        (Language::Korean, Self::$name) => $korean,
                    )+
                }
            }
        }
    };
}

impl Text {
    /// What stands before and after what is filled in.
    pub(super) fn around(self, language: Language) -> (&'static str, &'static str) {
        self.within(language).split_once("{0}").unwrap_or((self.within(language), ""))
    }

    /// The text with `values` filled in.
    pub(super) fn with(self, language: Language, values: &[&str]) -> String {
        let mut text = self.within(language).to_owned();
        for (n, value) in values.iter().enumerate() {
            text = text.replace(&format!("{{{n}}}"), value);
        }
        text
    }
}

texts! {
    // Around every page.
    SkipToContent: "Skip to content", "본문으로 건너뛰기";
    Sections: "Sections", "메뉴";
    Board: "Board", "주문 현황판";
    MyOrders: "My orders", "내 주문";
    MyDeliveries: "Deliveries", "배송";
    Stuck: "Stuck", "막힌 주문";
    Merchants: "Merchants", "판매자";
    MyShop: "My shop", "내 가게";
    Dashboard: "Dashboard", "현황";
    PlaceOrder: "Place an order", "주문하기";
    SignIn: "Sign in", "로그인";
    SignOut: "Sign out", "로그아웃";
    OtherLanguage: "한국어", "English";
    BackToBoard: "Back to the board", "현황판으로";
    Live: "Live", "실시간";
    NotLive: "Connection lost; trying again", "연결이 끊겨 다시 시도합니다";

    // Signing in.
    SignInIntroduction: "Watch orders, move them, and help those that are stuck.", "주문을 보고, 진행하고, 막힌 주문을 풀어 줍니다.";
    ChooseRole: "Who are you today?", "누구로 들어갈까요?";
    ChooseRoleHint: "Local mode: jumun makes a token for whomever you choose.", "로컬 모드: 고른 역할의 토큰을 jumun이 만들어 줍니다.";
    YourName: "Your name", "이름";
    WhichMerchant: "Merchant", "판매자";
    AsRole: "Continue as {0}", "{0} 역할로 계속";
    PasteToken: "Sign in with a token", "토큰으로 로그인";
    Token: "Token", "토큰";
    TokenHint: "A JSON Web Token of your identity provider, or of `jumun token`.", "신원 제공자나 `jumun token`이 만든 JSON Web Token.";
    TokenTooLong: "This token is too long for a browser's cookie (3.8 KB).", "이 토큰은 브라우저 쿠키에 담기에 너무 깁니다 (3.8 KB).";
    SessionOver: "Please sign in to go on.", "계속하려면 로그인해 주세요.";
    SignedOut: "You are signed out.", "로그아웃되었습니다.";
    NotMintedHere: "Roles can be chosen only in local mode, and from this machine.", "역할 선택은 로컬 모드에서, 이 컴퓨터에서만 할 수 있습니다.";

    // Problems.
    NotFoundTitle: "There is nothing here", "여기에는 아무것도 없습니다";
    NotFoundDetail: "The page or order does not exist, or is not yours to see.", "페이지나 주문이 없거나, 볼 수 없는 것입니다.";
    FormOutdated: "This form is not good any more", "이 양식은 더 이상 유효하지 않습니다";
    FormOutdatedDetail: "It came from elsewhere, or from before you signed in. Nothing was done. Please go back, reload the page and try again.", "다른 곳에서 왔거나 로그인 전의 양식입니다. 아무것도 하지 않았습니다. 돌아가서 새로 고침한 뒤 다시 시도해 주세요.";
    RetryIn: "Worth another try in {0} s.", "{0}초 뒤에 다시 시도해 보세요.";

    // The board.
    Filter: "Filter", "걸러 보기";
    AllMerchants: "All merchants", "모든 판매자";
    AllStatuses: "All open and recent", "진행 중과 최근";
    Status: "Status", "상태";
    Search: "Search", "찾기";
    SearchHint: "Name, product, order number", "이름, 상품, 주문번호";
    ClearFilter: "Clear", "지우기";
    ShowAll: "Show all {0}", "{0}건 모두 보기";
    ShowMore: "Show more", "더 보기";
    NoOrders: "No orders here yet.", "아직 주문이 없습니다.";
    NoOrdersMatch: "No order matches.", "맞는 주문이 없습니다.";
    SearchedSoFar: "{0} orders were searched, the newest first.", "최근 주문 {0}건에서 찾았습니다.";
    SearchOlder: "Search older orders", "이전 주문 찾기";
    NothingToDeliver: "Nothing to pick up or to deliver.", "가져가거나 배달할 것이 없습니다.";
    OrdersAreStuck: "{0} stuck", "막힘 {0}건";
    TimeLeft: "{0} left", "{0} 남음";
    Overdue: "due", "기한 도래";
    Ago: "{0} ago", "{0} 전";
    JustNow: "just now", "방금";
    ItemsMore: "+{0} more", "외 {0}건";

    // An order.
    Order: "Order", "주문";
    OrderedItems: "Ordered", "주문 내역";
    Product: "Product", "상품";
    UnitPrice: "Price", "단가";
    Quantity: "Quantity", "수량";
    LineTotal: "Sum", "금액";
    Total: "Total", "합계";
    Customer: "Customer", "고객";
    Phone: "Phone", "전화";
    Address: "Address", "주소";
    Note: "Note", "요청사항";
    Lifecycle: "Lifecycle", "주문 흐름";
    PlacedAt: "Placed", "주문 시각";
    UpdatedAt: "Last change", "마지막 변경";
    Reason: "Reason", "사유";
    WhatNow: "Now", "지금";
    Timeline: "What happened", "지나온 일";
    Commands: "What you can do", "할 수 있는 일";
    NothingToDo: "Nothing is asked of you now.", "지금은 하실 일이 없습니다.";
    WhyOptional: "Reason (optional)", "사유 (선택)";
    CancelPreview: "This undoes, in this order:", "이 순서로 되돌립니다:";
    CancelPreviewNothing: "Nothing has been done yet that would have to be undone.", "아직 되돌릴 것이 없습니다.";
    CancelPreviewUnknown: "What exactly it undoes cannot be told right now.", "무엇을 되돌리는지 지금은 알 수 없습니다.";
    CancelConfirm: "Yes, cancel the order", "네, 주문을 취소합니다";
    CancelMoneyBack: "{0} back to the customer", "고객에게 {0} 환불";
    UndoneIfDone: "if it has been done by then", "그때까지 진행된 경우";
    RejectConfirm: "Yes, reject the order", "네, 주문을 거절합니다";
    WaitsForGate: "Waits for: {0}", "기다리는 중: {0}";
    UntilDeadline: "until {0}", "{0}까지";
    IsRunning: "A step is being carried out.", "단계를 진행하고 있습니다.";
    IsBackingOff: "{0} fails and is tried again.", "{0} 단계가 실패해서 다시 시도합니다.";
    IsPaused: "Paused by the engine until somebody retries it.", "엔진이 멈춰 두었습니다. 누군가 다시 시도해야 합니다.";
    IsCompleted: "The order has ended.", "끝난 주문입니다.";
    IsUnknown: "The engine does not say what it is doing.", "엔진이 상태를 알려 주지 않습니다.";
    Attempts: "Failed attempts", "실패한 시도";
    LastFailure: "Last failure", "마지막 실패";
    NextTry: "Next try", "다음 시도";
    AtTime: "When", "시각";
    RetryNow: "Retry now", "지금 다시 시도";
    Retried: "It is being tried now.", "지금 다시 시도합니다.";
    OpenInEngine: "Raw journal in the engine's UI", "엔진 UI에서 기록 보기";
    Undone: "undone", "되돌림";
    UndoneAt: "undone {0}", "{0} 되돌림";
    Refused: "refused", "거절됨";
    ByRole: "by {0}", "{0}";
    Payment: "Payment", "결제";
    Delivery: "Delivery", "배송";
    Coupon: "Coupon", "쿠폰";
    Notifications: "Notifications", "알림";
    LedgerEntries: "Ledger entries", "원장 기록";
    Account: "Account", "계정";
    Amount: "Amount", "금액";
    NoneYet: "None yet.", "아직 없습니다.";
    DoesNotAnswer: "The {0} context does not answer right now.", "{0} 서비스가 지금 응답하지 않습니다.";
    DoesNotAnswerHint: "The order goes on as soon as it does.", "응답하는 대로 주문은 이어집니다.";
    DiagramOf: "Diagram of the lifecycle {0}; now at {1}", "{0} 주문 흐름 그림, 지금 {1}";
    DiagramOfAll: "Diagram of the lifecycle {0}", "{0} 주문 흐름 그림";
    DiagramMissing: "The diagram cannot be drawn right now.", "지금은 그림을 그릴 수 없습니다.";
    Done: "Done: {0}.", "완료: {0}.";
    CopyId: "Order number", "주문번호";

    // Stuck.
    StuckIntroduction: "A step of these orders keeps failing. They go on by themselves as soon as the provider answers; retrying only makes the next attempt sooner.", "단계가 계속 실패하는 주문입니다. 제공자가 응답하면 저절로 이어지며, 다시 시도는 다음 시도를 앞당길 뿐입니다.";
    NothingStuck: "Nothing is stuck.", "막힌 주문이 없습니다.";
    NothingStuckDetail: "Every open order goes its way, or waits for a person.", "모든 주문이 진행 중이거나 사람을 기다립니다.";
    GroupedFirst: "The newest {0} of {1} are shown here.", "{1}건 중 최근 {0}건을 보여 줍니다.";
    NoFailureTold: "The engine tells no failure.", "엔진이 알려 준 실패가 없습니다.";
    FailingStep: "Failing step", "실패하는 단계";
    ManyAtOnce: "By merchant and status", "판매자와 상태별로";
    RetryAllHere: "Retry all {0}…", "{0}건 모두 다시 시도…";
    CancelAllHere: "Cancel all {0}…", "{0}건 모두 취소…";
    RetryAll: "Retry all…", "모두 다시 시도…";
    CancelAll: "Cancel all…", "모두 취소…";
    BulkConfirmRetry: "Orders that match: {0}. Retry all of them now?", "{0}건이 해당합니다. 모두 지금 다시 시도할까요?";
    BulkConfirmCancel: "Orders that match: {0}. Cancel all of them? What was done for them is undone.", "{0}건이 해당합니다. 모두 취소할까요? 진행된 일은 되돌립니다.";
    BulkMore: "There are more; this call takes the first 1,000.", "더 있습니다. 이번에는 처음 1,000건만 합니다.";
    BulkGoRetry: "Yes, retry all {0}", "{0}건 다시 시도";
    BulkGoCancel: "Yes, cancel all {0}", "{0}건 취소";
    BulkKeep: "No, go back", "아니요, 돌아가기";
    BulkResult: "Accepted {0}, not allowed {1}, failed {2}, not tried {3}.", "수락 {0}, 불가 {1}, 실패 {2}, 시도 안 함 {3}.";
    EveryStatus: "Any", "전체";
    Paused: "paused", "멈춤";
    BulkNone: "No order matches any more.", "해당하는 주문이 더 없습니다.";

    // Merchants.
    NewMerchant: "New merchant", "새 판매자";
    MerchantId: "Id", "아이디";
    MerchantIdHint: "Lower-case letters, digits and hyphens; for good.", "소문자, 숫자, 하이픈. 바꿀 수 없습니다.";
    Name: "Name", "이름";
    Currency: "Currency", "통화";
    Products: "Products", "상품";
    Sku: "SKU", "품번";
    OnHand: "In stock", "재고";
    OnHandHint: "not counted", "세지 않음";
    Reserved: "Reserved", "예약";
    Available: "Available", "판매 가능";
    NotCounted: "not counted", "세지 않음";
    MerchantExists: "This id is taken", "이미 있는 판매자입니다";
    MerchantExistsDetail: "Choose another one, or edit that merchant on its own page.", "다른 id를 고르거나 그 판매자의 페이지에서 고쳐 주세요.";
    AddProduct: "Add a product", "상품 추가";
    Save: "Save", "저장";
    Saved: "Saved.", "저장했습니다.";
    Create: "Create", "만들기";
    EditLifecycle: "Edit the lifecycle", "주문 흐름 고치기";
    EditHint: "Orders that are open keep the lifecycle that they were placed under.", "이미 접수된 주문은 접수 당시의 흐름을 따릅니다.";
    AsDocument: "As document", "문서로 보기";
    EditDocument: "Edit as document", "문서로 고치기";
    Preview: "Preview", "미리 보기";
    PreviewOf: "What orders would live through", "주문이 거치게 될 길";
    PreviewGood: "No faults. Save it, and it applies to orders from then on.", "문제가 없습니다. 저장하면 이후 주문에 적용됩니다.";
    PreviewFaulty: "Please fix:", "먼저 고쳐 주세요:";
    StartFrom: "Start from", "시작점";
    GatesTable: "Whom it waits for", "기다리는 사람";
    NotANumber: "That is no number", "숫자가 아닙니다";
    GateColumn: "Gate", "관문";
    WindowColumn: "Waits", "대기";
    OnTimeoutColumn: "Then", "그 뒤";
    WhoColumn: "Who", "누가";
    ForEver: "for ever", "계속";
    CancelTable: "What a cancel undoes", "취소하면 되돌리는 것";
    AtStatus: "At", "상태";
    Undoes: "Undoes, in this order", "되돌리는 순서";
    Nothing: "nothing", "없음";

    // The fields of a lifecycle.
    FieldMethod: "Paid by", "결제 방법";
    FieldDepositWindow: "Waits for the deposit (like 3days)", "입금 대기 시간 (예: 3days)";
    FieldStock: "Stock is taken", "재고 차감";
    FieldAcceptance: "Acceptance by the merchant", "판매자 수락";
    FieldAcceptanceWindow: "Waits for acceptance (like 10m)", "수락 대기 시간 (예: 10m)";
    FieldReceiptWindow: "Waits for the receipt (like 7days)", "수령확인 대기 시간 (예: 7days)";
    FieldProduction: "Production", "제작";
    FieldCoupon: "Coupon", "쿠폰";
    FieldDelivery: "Delivery starts", "배송 시작";
    FieldReceipt: "Confirmation of receipt", "수령확인";
    FieldCustomerCancel: "Customer may cancel up to", "고객 취소 가능 상태";
    FieldMerchantCancel: "Merchant may cancel up to", "판매자 취소 가능 상태";
    FieldUnwind: "Order of undoing (empty: the reverse of doing)", "되돌리는 순서 (비우면 역순)";
    OptNone: "None", "없음";
    OptNever: "Never", "불가";
    OptDefault: "Until delivered", "배송완료 전까지";
    OptCard: "Card", "카드";
    OptDeposit: "Bank transfer", "무통장 입금";
    OptOnPlacement: "Held when placed, sold when paid", "접수 시 예약, 결제 시 차감";
    OptOnPayment: "Sold when paid", "결제 시 차감";
    OptNotCounted: "Not counted", "세지 않음";
    OptReject: "It is rejected", "거절됨";
    OptAccept: "It is accepted", "수락됨";
    OptNoAcceptance: "Not needed", "필요 없음";
    OptProductionWhole: "Merchant starts and finishes", "판매자가 시작하고 마침";
    OptProductionStart: "Merchant starts", "판매자가 시작";
    OptBeforeDelivery: "Before delivery", "배송 전";
    OptAfterDelivery: "After delivery", "배송 후";
    OptAutomatic: "By itself", "자동";
    OptCourier: "By a courier", "배송원이";
    OptNoDelivery: "No delivery", "배송 없음";
    OptReceipt: "Asked; then confirmed by itself", "요청 후 자동 확인";

    // The dashboard.
    SinceMidnight: "Since midnight", "자정부터";
    SinceMidnightUtc: "Since midnight, UTC", "자정부터 (UTC)";
    TryLifecycle: "Try out a lifecycle", "주문 흐름 시험해 보기";
    OrdersToday: "Orders", "주문";
    Revenue: "Revenue", "매출";
    Refunds: "Refunds", "환불";
    TimeToPaid: "Time to paid", "결제까지";
    TimeToDelivered: "Time to delivered", "배송완료까지";
    MeanOf: "mean of {0}", "{0}건 평균";
    TimeToPaidByHour: "Mean time to paid, by hour", "시간별 결제까지 평균";
    TimeToDeliveredByHour: "Mean time to delivered, by hour", "시간별 배송완료까지 평균";
    Workers: "Workers", "워커";
    WorkerVersion: "Version", "버전";
    WorkerUrl: "Address", "주소";
    WorkerCurrent: "current: takes what is new", "현재: 새 주문을 받음";
    WorkerDraining: "draining", "비우는 중";
    WorkerDrained: "drained: can be removed", "비움: 제거 가능";
    OpenWork: "Open", "진행 중";
    RegisteredAt: "Registered", "등록";
    OrdersByHour: "Orders by hour", "시간별 주문";
    RevenueByHour: "Revenue and refunds by hour", "시간별 매출과 환불";
    OpenOrders: "Open orders", "진행 중 주문";
    Health: "Health", "상태 점검";
    Breaker: "Breaker on card payments", "카드 결제 차단기";
    BreakerClosed: "closed: cards are taken", "닫힘: 카드 결제 가능";
    BreakerOpen: "open: no cards for a while", "열림: 잠시 카드 불가";
    BreakerHalfOpen: "half open: a few are tried", "반열림: 일부만 시도";
    Up: "answers", "응답함";
    Down: "does not answer", "응답 없음";
    NotAsked: "not asked", "확인 안 함";
    SandboxDown: "Sandbox: {0}", "샌드박스: {0}";
    SwitchUp: "Switch up", "켜기";
    SwitchDown: "Switch down", "끄기";
    NoTakings: "No orders yet today.", "오늘은 아직 주문이 없습니다.";
    AsTable: "As table", "표로 보기";
    Hour: "Hour", "시각";

    // Placing.
    PlaceIntroduction: "A test order, paid with a test card.", "테스트 카드로 결제하는 테스트 주문입니다.";
    ChooseMerchant: "Choose a merchant", "판매자 고르기";
    HowMany: "How many", "수량";
    Card: "Test card", "테스트 카드";
    CardOk: "Pays", "결제됨";
    CardDeclined: "Is declined", "거절됨";
    CardFlaky: "Fails twice, then pays", "두 번 실패 후 결제";
    CardSlow: "Pays after 2 seconds", "2초 뒤 결제";
    CardLostReply: "Pays, and its first answer is lost", "결제되지만 첫 응답이 사라짐";
    BankTransfer: "Paid by bank transfer: the merchant confirms the deposit.", "무통장 입금: 판매자가 입금을 확인합니다.";
    PlaceIt: "Place the order", "주문하기";
    NoProducts: "This merchant sells nothing yet.", "아직 파는 상품이 없습니다.";
    NothingChosen: "Choose at least one product", "상품을 하나 이상 고르세요";
    NothingChosenDetail: "Say how many of something. Nothing was ordered.", "상품의 수량을 넣어 주세요. 주문하지 않았습니다.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_fill_in_the_same() {
        for text in Text::ALL {
            let [english, korean] = [Language::English, Language::Korean].map(|language| text.within(language));
            assert!(!english.is_empty() && !korean.is_empty(), "{text:?}");
            for place in ["{0}", "{1}", "{2}", "{3}"] {
                assert_eq!(english.contains(place), korean.contains(place), "{text:?}");
            }
        }
        assert_eq!(Text::GroupedFirst.with(Language::Korean, &["3", "9"]), "9건 중 최근 3건을 보여 줍니다.");
    }
}
