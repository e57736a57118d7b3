//! Which traces are recorded: the samplers of OpenTelemetry's `OTEL_TRACES_SAMPLER`. Pure.
//!
//! Asked once, where a trace comes into the cluster; within it everybody does what was decided there.

use super::TraceContext;

/// What is decided for a trace that nobody has decided about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    All,
    None,
    /// This share of them, 0 to 1, by their ids: whoever else goes by the same share decides the same.
    Ratio(f64),
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    pub base: Base,
    /// What the client's `traceparent` says counts.
    pub parent_based: bool,
}

impl Default for Sampler {
    /// `parentbased_always_on`, as in the standard.
    fn default() -> Self {
        Self { base: Base::All, parent_based: true }
    }
}

impl Sampler {
    /// Whether to record the trace that `context` belongs to; `is_parent`: somebody else has begun it.
    pub fn samples(&self, context: &TraceContext, is_parent: bool) -> bool {
        if is_parent && self.parent_based {
            return context.sampled;
        }
        match self.base {
            Base::All => true,
            Base::None => false,
            Base::Ratio(share) => {
                // The last seven bytes are those that the standard asks to be random.
                let drawn = context.trace.as_uuid().as_u128() & ((1 << 56) - 1);
                (drawn as f64) < share * (1u64 << 56) as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of(sampler: Sampler) -> f64 {
        let sampled = (0..4000).filter(|_| sampler.samples(&TraceContext::random(false), false)).count();
        sampled as f64 / 4000.0
    }

    #[test]
    fn a_share_of_the_traces_is_recorded_always_the_same_ones() {
        for share in [0.0, 0.1, 0.5, 1.0] {
            let sampler = Sampler { base: Base::Ratio(share), parent_based: false };
            assert!((share_of(sampler) - share).abs() < 0.05, "{share}");
        }
        let (some, more) = (0.3, 0.6);
        for _ in 0..1000 {
            let context = TraceContext::random(false);
            let by = |share| Sampler { base: Base::Ratio(share), parent_based: false }.samples(&context, false);
            assert!(!by(some) || by(more), "who records more records these too: {context}");
            assert_eq!(by(some), by(some));
        }
    }

    #[test]
    fn what_the_client_decided_counts_only_where_it_is_to() {
        for (base, by_itself) in [(Base::All, true), (Base::None, false)] {
            for sampled in [true, false] {
                let context = TraceContext::random(sampled);
                assert_eq!(Sampler { base, parent_based: true }.samples(&context, true), sampled);
                assert_eq!(Sampler { base, parent_based: true }.samples(&context, false), by_itself);
                assert_eq!(Sampler { base, parent_based: false }.samples(&context, true), by_itself);
            }
        }
    }
}
