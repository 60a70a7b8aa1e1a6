//! `/v1/lifecycles`: how orders live, as data, and what a lifecycle would do. Keeps none: a lifecycle is a merchant's.

use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::Type;
use workflows::lifecycle::Unwound;
use workflows::{Lifecycle, Status};

use crate::access::Caller;
use crate::body::Body;
use crate::json::List;
use crate::kind::Kind;
use crate::preview::Preview;
use crate::problem::{Members, Problem, Refused, refusals};
use crate::tags::Tag;
use crate::value::{Checked, LifecycleName, Value, Written};

refusals! {
    ListLifecycles: InvalidRequest;
    GetLifecycle: NotFound;
    PreviewLifecycle: InvalidRequest, RequestTimeout, BodyTooLarge, UnsupportedMediaType, InvalidLifecycle;
}

pub(crate) struct LifecyclesApi;

#[OpenApi(prefix_path = "/v1/lifecycles", tag = "Tag::Lifecycles")]
impl LifecyclesApi {
    /// List lifecycles
    ///
    /// The presets: which steps an order goes through, who moves it, when it may be cancelled.
    #[oai(path = "/", method = "get", operation_id = "list_lifecycles")]
    async fn list(&self, _caller: Caller) -> Result<Json<List<Checked<Lifecycle>>>, Refused<ListLifecycles>> {
        Ok(Json(Lifecycle::presets().iter().cloned().map(Checked).collect()))
    }

    /// Read a lifecycle
    #[oai(path = "/:name", method = "get", operation_id = "get_lifecycle")]
    async fn get(
        &self,
        _caller: Caller,
        /// The lifecycle's name.
        name: Path<Checked<LifecycleName>>,
    ) -> Result<Json<Checked<Lifecycle>>, Refused<GetLifecycle>> {
        let LifecycleName(name) = name.0.0;
        let lifecycle = Lifecycle::preset(&name).cloned();
        Ok(Json(Checked(lifecycle.ok_or_else(|| Problem::not_found("lifecycle of that name"))?)))
    }

    /// Preview a lifecycle
    ///
    /// What an order would live through, without placing one: its steps, the gates that it waits at, what a cancel
    /// would undo, and a diagram. Nothing is kept; a merchant gets the lifecycle by `PUT /v1/merchants/{merchant_id}`.
    #[oai(path = "/preview", method = "post", operation_id = "preview_lifecycle")]
    async fn preview(
        &self,
        _caller: Caller,
        document: Body<Checked<LifecycleDocument>>,
    ) -> Result<Json<Preview>, Refused<PreviewLifecycle>> {
        let Body(Checked(document)) = document;
        Ok(Json(document.lifecycle()?.preview().into()))
    }
}

/// A lifecycle, by name or as a whole.
pub(crate) enum LifecycleChoice {
    Preset(String),
    Document(LifecycleDocument),
}

impl LifecycleChoice {
    pub(crate) fn lifecycle(self) -> Result<Lifecycle, Problem> {
        match self {
            Self::Preset(name) => Lifecycle::preset(&name).cloned().ok_or_else(unknown_lifecycle),
            Self::Document(document) => document.lifecycle(),
        }
    }
}

impl Value for LifecycleChoice {
    const NAME: &'static str = "LifecycleChoice";
    const FORM: &'static str = "a preset's name, or a lifecycle";

    fn schema() -> MetaSchema {
        MetaSchema {
            description: Some("A preset's name, or a whole lifecycle."),
            one_of: vec![
                MetaSchemaRef::Inline(Box::new(MetaSchema { max_length: Some(100), ..MetaSchema::new("string") })),
                Checked::<LifecycleDocument>::schema_ref(),
            ],
            ..MetaSchema::ANY
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::Preset(text.to_owned()))
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::String(name) => Self::from_text(name),
            other => LifecycleDocument::from_json(other).map(Self::Document),
        }
    }
}

impl Written for LifecycleChoice {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Preset(name) => name.as_str().into(),
            Self::Document(document) => document.to_json(),
        }
    }
}

/// A lifecycle as somebody wrote it: an object that is yet to be read as one.
pub(crate) struct LifecycleDocument(serde_json::Value);

impl LifecycleDocument {
    /// The lifecycle, if orders can live by it; else everything that is wrong with it.
    fn lifecycle(self) -> Result<Lifecycle, Problem> {
        let lifecycle: Lifecycle =
            serde_json::from_value(self.0).map_err(|error| invalid_lifecycle(vec![error.to_string()]))?;
        let faults = lifecycle.faults();
        if faults.is_empty() { Ok(lifecycle) } else { Err(invalid_lifecycle(faults)) }
    }
}

impl Value for LifecycleDocument {
    const NAME: &'static str = "lifecycle";
    const FORM: &'static str = "a lifecycle";

    fn schema() -> MetaSchema {
        Lifecycle::schema()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::from_json(&serde_json::from_str(text).ok()?)
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        json.is_object().then(|| Self(json.clone()))
    }
}

impl Written for LifecycleDocument {
    fn to_json(&self) -> serde_json::Value {
        self.0.clone()
    }
}

impl Value for Lifecycle {
    const NAME: &'static str = "Lifecycle";
    const FORM: &'static str = "a lifecycle";

    fn schema() -> MetaSchema {
        object(
            "Which steps an order goes through, who moves it, when it may be cancelled.",
            &["name", "payment", "stock"],
            vec![
                ("name", text("What it is called: 1 to 63 characters. The presets' names are theirs.", 63)),
                ("payment", payment()),
                (
                    "stock",
                    inline(object(
                        "Whether stock is tracked.",
                        &["take"],
                        vec![("take", one_of("When it is taken.", ["on_placement", "on_payment", "none"]))],
                    )),
                ),
                (
                    "acceptance",
                    awaited("The merchant accepts or rejects; absent: nobody has to.", ["reject", "accept"]),
                ),
                ("production", production()),
                ("coupon", one_of("When a coupon is issued; absent: never.", ["before_delivery", "after_delivery"])),
                ("delivery", delivery()),
                ("receipt", awaited("The customer confirms to have it; absent: nobody has to.", ["confirm"])),
                ("cancellation", cancellation()),
                ("unwind", unwind()),
                ("steps", steps()),
            ],
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn from_json(json: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(json.clone()).ok()
    }
}

impl Written for Lifecycle {
    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a test of `workflows` writes every preset as JSON")
    }
}

fn object(
    description: &'static str,
    required: &[&'static str],
    properties: Vec<(&'static str, MetaSchemaRef)>,
) -> MetaSchema {
    let required = required.to_vec();
    MetaSchema { description: Some(description), required, properties, ..MetaSchema::new("object") }
}

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}

fn text(description: &'static str, max_length: usize) -> MetaSchemaRef {
    let (description, max_length) = (Some(description), Some(max_length));
    inline(MetaSchema { description, min_length: Some(1), max_length, ..MetaSchema::new("string") })
}

fn one_of<const N: usize>(description: &'static str, values: [&'static str; N]) -> MetaSchemaRef {
    let enum_items = values.map(Into::into).to_vec();
    inline(MetaSchema { description: Some(description), enum_items, ..MetaSchema::new("string") })
}

fn window(description: &'static str) -> MetaSchemaRef {
    let span = text("A time span, such as `10m` or `3days`.", 100);
    let seconds = inline(MetaSchema {
        description: Some("A number of seconds."),
        minimum: Some(1.0),
        ..MetaSchema::new("integer")
    });
    inline(MetaSchema { description: Some(description), one_of: vec![span, seconds], ..MetaSchema::ANY })
}

fn payment() -> MetaSchemaRef {
    let properties = vec![
        ("method", one_of("Charged before the order stands, or transferred and confirmed.", ["card", "deposit"])),
        ("deposit_window", window("How long a deposit is waited for; then the order is cancelled. Absent: for ever.")),
    ];
    inline(object("How its orders are paid.", &["method"], properties))
}

fn awaited<const N: usize>(description: &'static str, on_timeout: [&'static str; N]) -> MetaSchemaRef {
    let properties = vec![
        ("window", window("How long this is waited for.")),
        ("on_timeout", one_of("What happens when nobody comes in time.", on_timeout)),
    ];
    inline(object(description, &["window", "on_timeout"], properties))
}

fn production() -> MetaSchemaRef {
    let properties = vec![
        ("start", one_of("Who says that it begins.", ["merchant"])),
        ("finish", one_of("Who says that it is done; `none`: it goes straight on.", ["merchant", "none"])),
    ];
    inline(object("Something is made; absent: nothing is.", &["start", "finish"], properties))
}

fn delivery() -> MetaSchemaRef {
    let properties = vec![
        ("start", one_of("Who starts it.", ["automatic", "courier"])),
        ("complete", one_of("Who completes it.", ["courier"])),
    ];
    inline(object(
        "It is brought to the customer; absent: it is handed out on the spot.",
        &["start", "complete"],
        properties,
    ))
}

fn cancellation() -> MetaSchemaRef {
    let last = |description| one_of(description, Status::ALL.map(Status::as_str));
    let properties = vec![
        ("customer", last("Absent: the customer may not.")),
        ("merchant", last("Absent: as long as the order is neither final nor delivered.")),
        ("operator", last("Absent: as long as the order is neither final nor delivered.")),
    ];
    inline(object("Per role, the last status at which it may still cancel.", &[], properties))
}

fn unwind() -> MetaSchemaRef {
    let parts = Unwound::ALL.map(Unwound::as_str);
    inline(MetaSchema {
        description: Some("The order of undoing; absent: the reverse of doing."),
        items: Some(Box::new(one_of("What is undone.", parts))),
        max_items: Some(parts.len()),
        ..MetaSchema::new("array")
    })
}

fn steps() -> MetaSchemaRef {
    let number = |description| inline(MetaSchema { description: Some(description), ..MetaSchema::new("integer") });
    let factor = MetaSchema {
        description: Some("By how much each wait is longer than the one before: 1 to 10."),
        ..MetaSchema::new("number")
    };
    let policy = object(
        "How the step is tried.",
        &["attempt_timeout_ms", "first_delay_ms", "factor", "longest_delay_ms"],
        vec![
            ("attempt_timeout_ms", number("How long one attempt may take: 50 to 60000.")),
            ("first_delay_ms", number("The wait before the second attempt: 10 to 60000.")),
            ("factor", inline(factor)),
            ("longest_delay_ms", number("The longest wait between two attempts: `first_delay_ms` to 60000.")),
            (
                "give_up_after_ms",
                inline(MetaSchema {
                    description: Some("By when the last attempt is over; null or absent: it never gives up."),
                    nullable: true,
                    ..MetaSchema::new("integer")
                }),
            ),
        ],
    );
    inline(MetaSchema {
        description: Some("Per step, how it is tried, where the default does not fit."),
        additional_properties: Some(Box::new(inline(policy))),
        ..MetaSchema::new("object")
    })
}

fn invalid_lifecycle(faults: Vec<String>) -> Problem {
    Problem::new(Kind::InvalidLifecycle, format!("Mend the lifecycle and send it again: {}.", faults.join("; ")))
        .with(Members { faults: Some(faults), ..Members::default() })
}

fn unknown_lifecycle() -> Problem {
    let presets: Vec<_> = Lifecycle::presets().iter().map(|preset| preset.name.as_str()).collect();
    Problem::new(Kind::UnknownLifecycle, format!("The lifecycles are: {}.", presets.join(", ")))
}
