//! `/v1/orders`: placing, reading and moving orders.

mod command;
mod cursor;
mod json;
mod key;
mod place;
mod placing;
mod read;

pub(crate) use command::CommandOrders;
pub(crate) use place::PlaceOrders;
pub(crate) use placing::Placing;
pub(crate) use read::ReadOrders;
