//! `/v1/orders` and `/v1/events`: placing, reading, following and moving orders.

mod command;
mod cursor;
mod events;
mod json;
mod key;
mod live;
mod place;
mod placing;
mod read;
mod watch;
mod workflow;

pub(crate) use command::CommandOrders;
pub(crate) use events::EventsApi;
pub(crate) use json::EventType;
pub(crate) use live::Live;
pub(crate) use place::PlaceOrders;
pub(crate) use placing::Placing;
pub(crate) use read::{ReadOrders, language_or_default};
pub(crate) use workflow::WorkflowApi;
