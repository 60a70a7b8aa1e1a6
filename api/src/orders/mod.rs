//! `/v1/orders` and `/v1/events`: placing, reading, following, moving orders, and driving on those that are held up.

mod bulk;
mod command;
mod events;
mod feed;
mod json;
mod key;
mod live;
mod place;
mod placing;
mod read;
mod retry;
mod watch;
mod workflow;

pub(crate) use bulk::BulkOrders;
pub(crate) use command::CommandOrders;
pub(crate) use events::EventsApi;
pub(crate) use feed::Feed;
pub(crate) use json::EventType;
pub(crate) use live::{Change, Changes, Live};
pub(crate) use place::PlaceOrders;
pub(crate) use placing::Placing;
pub(crate) use read::{ReadOrders, language_or_default};
pub(crate) use retry::{RetryOrders, Retrying};
pub(crate) use workflow::WorkflowApi;
