//! Test cards, as real providers have them: the token says how the charge goes.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestCard {
    /// `tok_ok`
    Ok,
    /// `tok_declined`, and every token that is no card.
    Declined { reason: &'static str },
    /// `tok_flaky_N`: fails N times, then goes through.
    Flaky { failures: u32 },
    /// `tok_slow_MS`: takes that long from when it is first asked.
    Slow { delay: Duration },
    /// `tok_lost_reply`: charges, and loses its first answer.
    LostReply,
}

impl TestCard {
    pub fn read(token: &str) -> Self {
        let numbered = |prefix: &str| token.strip_prefix(prefix)?.parse().ok();
        match token {
            "tok_ok" => Self::Ok,
            "tok_declined" => Self::Declined { reason: "card_declined" },
            "tok_lost_reply" => Self::LostReply,
            _ => {
                if let Some(failures) = numbered("tok_flaky_") {
                    Self::Flaky { failures }
                } else if let Some(delay_ms) = numbered("tok_slow_") {
                    Self::Slow { delay: Duration::from_millis(delay_ms.into()) }
                } else {
                    Self::Declined { reason: "unknown_card" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read() {
        assert_eq!(TestCard::read("tok_ok"), TestCard::Ok);
        assert_eq!(TestCard::read("tok_flaky_3"), TestCard::Flaky { failures: 3 });
        assert_eq!(TestCard::read("tok_slow_1500"), TestCard::Slow { delay: Duration::from_millis(1500) });
        for unknown in ["", "tok_flaky_", "tok_flaky_x", "tok_slow_-1", "4242424242424242"] {
            assert_eq!(TestCard::read(unknown), TestCard::Declined { reason: "unknown_card" }, "{unknown}");
        }
    }
}
