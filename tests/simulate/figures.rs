//! Figures summed over all runs.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub seeds: u64,
    /// Number of injected faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    pub connections: u64,
    /// Connections that ended without a request of the page.
    pub dropped: u64,
    pub restarts: u64,
    pub posted: u64,
    pub acked: u64,
    pub lost: u64,
    pub doubled: u64,
    /// The longest time until a dead connection was detected, in microseconds.
    pub noticed_by_page: u64,
    pub noticed_by_server: u64,
    /// The same for connections of which one direction still worked.
    pub noticed_one_way: u64,
}

impl Figures {
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        other.faults.iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        self.connections += other.connections;
        self.dropped += other.dropped;
        self.restarts += other.restarts;
        self.posted += other.posted;
        self.acked += other.acked;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.noticed_by_page = self.noticed_by_page.max(other.noticed_by_page);
        self.noticed_by_server = self.noticed_by_server.max(other.noticed_by_server);
        self.noticed_one_way = self.noticed_one_way.max(other.noticed_one_way);
    }

    /// A flat object, as scripts/trust.mjs expects.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "seeds": self.seeds,
            "faults": self.faults.values().sum::<u64>(),
            "connections": self.connections,
            "connections_dropped": self.dropped,
            "server_restarts": self.restarts,
            "posted": self.posted,
            "acked": self.acked,
            "lost": self.lost,
            "doubled": self.doubled,
            "dead_noticed_by_page_ms_max": self.noticed_by_page / 1_000,
            "dead_noticed_by_server_ms_max": self.noticed_by_server / 1_000,
            "one_way_noticed_ms_max": self.noticed_one_way / 1_000,
        });
        for (kind, count) in &self.faults {
            json[format!("fault_{}", kind.replace(' ', "_"))] = (*count).into();
        }
        json
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |micros: u64| micros as f64 / 1e6;
        writeln!(f, "seeds                {}", self.seeds)?;
        writeln!(f, "faults               {}", self.faults.values().sum::<u64>())?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<18} {count}")?;
        }
        writeln!(f, "connections          {}, dropped {}", self.connections, self.dropped)?;
        writeln!(f, "server restarts      {}", self.restarts)?;
        writeln!(f, "messages posted      {}", self.posted)?;
        writeln!(f, "acked                {}", self.acked)?;
        writeln!(f, "lost                 {}", self.lost)?;
        writeln!(f, "doubled              {}", self.doubled)?;
        writeln!(f, "longest time until a dead connection was detected")?;
        writeln!(f, "  by the page        {:.3} s", seconds(self.noticed_by_page))?;
        writeln!(f, "  by the server      {:.3} s", seconds(self.noticed_by_server))?;
        writeln!(f, "  one way only       {:.3} s", seconds(self.noticed_one_way))
    }
}
