//! Metrics for Prometheus: their declaration in a crate, and the text of a scrape. The listener that serves them
//! is in `rpc/server`.
//!
//! A crate has one struct, made by [`metrics!`]: the field's documentation is the help text,
//! and every series exists from the start, so that a rule that watches for a rare fault finds it at 0.
//!
//! ```
//! use vibecoin_metrics::{Counter, Gauge, Registry, metrics};
//!
//! metrics! {
//!     /// The kettle.
//!     pub struct KettleMetrics in "kettle" {
//!         /// Times the water boiled.
//!         boiled: Counter = "boiled_total",
//!         /// How warm the water is, in degrees.
//!         warmth: Gauge = "warmth_celsius",
//!     }
//! }
//! let kettle = KettleMetrics::default();
//! kettle.boiled.inc();
//! let mut registry = Registry::default();
//! kettle.register(&mut registry);
//! let text = vibecoin_metrics::render(&registry);
//! assert!(text.contains("vibecoin_kettle_boiled_total 1"));
//! ```

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::registry::Registry;

/// A gauge of a fractional quantity.
pub type FloatGauge = Gauge<f64, AtomicU64>;
/// A counter of a fractional quantity, such as seconds.
pub type FloatCounter = Counter<f64, AtomicU64>;

/// Declaration of a metric: for the documentation, and to check a scrape against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its whole name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The label that distinguishes its series, if there is one.
    pub label: Option<&'static str>,
    /// The lines of its documentation.
    pub help: &'static [&'static str],
}

impl Declared {
    /// The help text in one line, as it is shown.
    #[must_use]
    pub fn help_line(&self) -> String {
        let line = self
            .help
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ");
        // The encoder appends a full stop.
        line.trim_end_matches('.').to_owned()
    }

    /// The name in HELP and TYPE: that of a counter is without its suffix.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

/// A metric type.
pub trait Metric {
    /// For [`Declared::kind`].
    const KIND: &'static str;
    /// For [`Declared::label`].
    const LABEL: Option<&'static str> = None;

    /// Initial value of the metric.
    fn new() -> Self;

    /// Registers the metric.
    fn register(&self, registry: &mut Registry, declared: &Declared);
}

macro_rules! plain_metric {
    ($($type:ty, $kind:literal;)*) => {$(
        impl Metric for $type {
            const KIND: &'static str = $kind;

            fn new() -> Self {
                Self::default()
            }

            fn register(&self, registry: &mut Registry, declared: &Declared) {
                registry.register(declared.family(), declared.help_line(), self.clone());
            }
        }
    )*};
}
plain_metric! {
    Counter, "counter";
    FloatCounter, "counter";
    Gauge, "gauge";
    FloatGauge, "gauge";
}

/// Durations, in seconds: from a tenth of a millisecond to about 26 seconds, each bucket twice the one
/// before.
#[derive(Clone, Debug)]
pub struct Seconds(prometheus_client::metrics::histogram::Histogram);

/// The smallest bucket, and the number of buckets.
const BUCKETS: (f64, u16) = (0.0001, 19);

impl Seconds {
    /// Records a duration. Takes a lock for a moment; not for the innermost loops.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }

    /// Records a duration in microseconds.
    pub fn observe_micros(&self, micros: u64) {
        self.observe(Duration::from_micros(micros));
    }
}

impl Metric for Seconds {
    const KIND: &'static str = "histogram";

    fn new() -> Self {
        let (least, count) = BUCKETS;
        let buckets = prometheus_client::metrics::histogram::exponential_buckets(least, 2.0, count);
        Self(prometheus_client::metrics::histogram::Histogram::new(buckets))
    }

    fn register(&self, registry: &mut Registry, declared: &Declared) {
        registry.register(declared.family(), declared.help_line(), self.0.clone());
    }
}

/// The values of a label. They are few, and all are known.
pub trait Label: Copy {
    /// The label's name.
    const NAME: &'static str;

    /// Every value, in the order of [`Label::index`].
    fn all() -> Vec<&'static str>;

    /// Index of this one in [`Label::all`].
    fn index(self) -> usize;
}

/// An enum as a label: each variant with its value.
#[macro_export]
macro_rules! label {
    ($(#[doc = $doc:literal])* $vis:vis enum $Label:ident as $name:literal {
        $( $(#[doc = $variant_doc:literal])* $variant:ident = $value:literal, )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $Label { $( $(#[doc = $variant_doc])* $variant, )* }

        impl $crate::Label for $Label {
            const NAME: &'static str = $name;

            fn all() -> Vec<&'static str> {
                vec![$($value,)*]
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

type LabelSet = [(&'static str, &'static str); 1];

/// One metric for each value of a label. A look-up costs an index.
#[derive(Clone, Debug)]
pub struct Labelled<L, M> {
    family: Family<LabelSet, M>,
    cells: Vec<M>,
    label: std::marker::PhantomData<fn(L)>,
}

impl<L: Label, M: Clone + Default> Labelled<L, M> {
    /// The metric of a value.
    ///
    /// # Panics
    /// Never for labels made by [`label!`]: a value that is not in its own list is a bug.
    #[must_use]
    pub fn at(&self, label: L) -> &M {
        #[expect(
            clippy::indexing_slicing,
            reason = "there is a cell for each value of the label"
        )]
        &self.cells[label.index()]
    }
}

impl<L: Label, M> Metric for Labelled<L, M>
where
    M: Metric + Clone + Default + std::fmt::Debug + Send + Sync + 'static,
    M: prometheus_client::encoding::EncodeMetric + prometheus_client::metrics::TypedMetric,
{
    const KIND: &'static str = M::KIND;
    const LABEL: Option<&'static str> = Some(L::NAME);

    fn new() -> Self {
        let family = Family::<LabelSet, M>::default();
        let cell = |value: &'static str| family.get_or_create_owned(&[(L::NAME, value)]);
        let cells = L::all().into_iter().map(cell).collect();
        Self {
            cells,
            family,
            label: std::marker::PhantomData,
        }
    }

    fn register(&self, registry: &mut Registry, declared: &Declared) {
        registry.register(declared.family(), declared.help_line(), self.family.clone());
    }
}

/// Declares the metrics of a crate.
#[macro_export]
macro_rules! metrics {
    ($(#[doc = $room_doc:literal])* $vis:vis struct $Room:ident in $room:literal {
        $( $(#[doc = $help:literal])+ $field:ident: $type:ty = $name:literal, )*
    }) => {
        $(#[doc = $room_doc])*
        #[derive(Clone, Debug)]
        $vis struct $Room { $( $(#[doc = $help])+ pub $field: $type, )* }

        impl Default for $Room {
            fn default() -> Self {
                Self { $( $field: <$type as $crate::Metric>::new(), )* }
            }
        }

        impl $Room {
            /// The declared metrics, in order.
            pub const DECLARED: &'static [$crate::Declared] = &[ $(
                $crate::Declared {
                    name: concat!("vibecoin_", $room, "_", $name),
                    kind: <$type as $crate::Metric>::KIND,
                    label: <$type as $crate::Metric>::LABEL,
                    help: &[$($help),+],
                },
            )* ];

            /// Registers all of them.
            pub fn register(&self, registry: &mut $crate::Registry) {
                let mut declared = Self::DECLARED.iter();
                $( if let Some(declared) = declared.next() {
                    $crate::Metric::register(&self.$field, registry, declared);
                } )*
            }
        }
    };
}

/// Facts about the program, as the labels of `vibecoin_build_info`.
pub fn register_build(registry: &mut Registry, facts: Vec<(&'static str, String)>) {
    registry.register("vibecoin_build", BUILD_HELP, Info::new(facts));
}

/// The help text of `vibecoin_build_info`.
pub const BUILD_HELP: &str = "Which program this is; always 1";

/// Everything that is registered, in the text format of Prometheus (OpenMetrics).
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _always = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}
