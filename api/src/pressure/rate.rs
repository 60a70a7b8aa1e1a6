//! How often each principal may ask, as a bucket of requests that fills up steadily. Who it is has been found out
//! before; failing to say who one is, is counted by the address that it comes from.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use metrics::counter;
use poem::http::{HeaderValue, StatusCode};
use poem::{Endpoint, Request, Response};

use super::{Limits, Pressure};
use crate::access::Caller;
use crate::console;
use crate::framework;
use crate::kind::Kind;
use crate::problem::{Problem, whole_seconds};

/// Header fields of draft-ietf-httpapi-ratelimit-headers (since its version 08).
const POLICY: &str = "ratelimit-policy";
const STATE: &str = "ratelimit";

/// Whose requests are counted together: of a role, under a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Principal(String);

type Buckets<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// The buckets of all who asked of late.
pub(crate) struct Rates {
    limits: Limits,
    clock: DefaultClock,
    principals: Buckets<Principal>,
    strangers: Buckets<IpAddr>,
}

/// What is left in a bucket.
struct Left {
    requests: u32,
    /// Until it is full again; of an empty one, until there is a request in it again.
    seconds: u64,
}

impl Rates {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, clock: DefaultClock::default(), principals: buckets(limits), strangers: buckets(limits) }
    }

    /// Takes one request out of the bucket, if there is one in it.
    fn take<K: Hash + Eq + Clone>(&self, buckets: &Buckets<K>, key: &K) -> Result<Left, Left> {
        match buckets.check_key(key) {
            Ok(state) => Ok(Left { requests: state.remaining_burst_capacity(), seconds: self.full_in(&state) }),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Left { requests: 0, seconds: whole_seconds(wait) })
            }
        }
    }

    fn full_in(&self, state: &StateSnapshot) -> u64 {
        let missing = self.limits.burst.get().saturating_sub(state.remaining_burst_capacity());
        u64::from(missing.div_ceil(self.limits.requests_per_second.get()))
    }

    /// How long an empty bucket takes to be full, in seconds.
    fn window(&self) -> u32 {
        self.limits.burst.get().div_ceil(self.limits.requests_per_second.get())
    }

    /// Drops the buckets that are full anyway.
    pub(super) fn forget_the_idle(&self) {
        self.principals.retain_recent();
        self.principals.shrink_to_fit();
        self.strangers.retain_recent();
        self.strangers.shrink_to_fit();
    }

    fn too_many(&self, left: &Left) -> Problem {
        let Limits { requests_per_second, burst, .. } = self.limits;
        let detail = format!(
            "That is too often: {requests_per_second} requests a second are fine for long, and {burst} at once. This one \
             was not looked at; repeat it after Retry-After."
        );
        Problem::new(Kind::TooManyRequests, detail).after(Duration::from_secs(left.seconds))
    }

    fn tell(&self, response: &mut Response, left: &Left) {
        let policy = format!("\"principal\";q={};w={}", self.limits.burst, self.window());
        let state = format!("\"principal\";r={};t={}", left.requests, left.seconds);
        for (name, value) in [(POLICY, policy), (STATE, state)] {
            response.headers_mut().insert(name, HeaderValue::try_from(value).expect("is ASCII"));
        }
    }
}

fn buckets<K: Hash + Eq + Clone>(limits: Limits) -> Buckets<K> {
    let quota = Quota::per_second(limits.requests_per_second).allow_burst(limits.burst);
    RateLimiter::dashmap(quota).with_middleware()
}

/// Answers a principal as often as it may ask, and says with each answer how much is left; and only so many strangers at a
/// time, so that those who take their time take no place from anybody else.
pub(crate) async fn limited<E: Endpoint<Output = Response>>(
    pressure: Arc<Pressure>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let Some(principal) = principal(&request) else {
        let _place = if console::is_page(request.uri().path()) { Some(pressure.stranger()?) } else { None };
        return next.call(request).await;
    };
    let rates = &pressure.rates;
    let (mut response, left) = match rates.take(&rates.principals, &principal) {
        Ok(left) => (framework::answered(&*next, request).await, left),
        Err(left) => (framework::told(refused(&pressure, "principal", &left)).await, left),
    };
    rates.tell(&mut response, &left);
    Ok(response)
}

/// Answers 401 to an address only so often. Whoever says who they are is answered all the same, wherever they are: many
/// may come through one address.
pub(crate) async fn strangers<E: Endpoint<Output = Response>>(
    pressure: Arc<Pressure>,
    next: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let peer = request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip);
    let response = framework::answered(&*next, request).await;
    let stranger = peer.filter(|_| response.status() == StatusCode::UNAUTHORIZED);
    let rates = &pressure.rates;
    match stranger.map(|peer| rates.take(&rates.strangers, &peer)) {
        Some(Err(left)) => Err(refused(&pressure, "stranger", &left)),
        _ => Ok(response),
    }
}

fn refused(pressure: &Pressure, who: &'static str, left: &Left) -> poem::Error {
    pressure.metrics.within(|| counter!("jumun_rate_limited_total", "who" => who).increment(1));
    pressure.rates.too_many(left).into()
}

/// Who asks, where it matters how often.
fn principal(request: &Request) -> Option<Principal> {
    request.extensions().get::<Caller>().map(|caller| Principal(caller.name()))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Instant;

    use super::*;

    #[test]
    fn whoever_has_not_asked_for_a_while_is_forgotten() {
        let often = NonZeroU32::new(50).expect("is not zero");
        let rates = Rates::new(Limits { requests_per_second: often, burst: NonZeroU32::MIN, ..Limits::default() });
        let principals: Vec<_> = (0..1000).map(|n| Principal(n.to_string())).collect();
        for principal in &principals {
            assert!(rates.take(&rates.principals, principal).is_ok());
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while !rates.principals.is_empty() {
            assert!(Instant::now() < deadline, "{} are left", rates.principals.len());
            rates.forget_the_idle();
        }
        // But not before.
        let rates = Rates::new(Limits { requests_per_second: NonZeroU32::MIN, ..Limits::default() });
        assert!(rates.take(&rates.principals, &principals[0]).is_ok());
        rates.forget_the_idle();
        assert_eq!(rates.principals.len(), 1);
    }
}
