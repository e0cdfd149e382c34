//! The spotlight: the tile that is shown large.

use leptos::prelude::*;

use crate::client::call::state::Tile;
use crate::protocol::PeerId;

/// The participant whom a tile shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TileOwner {
    /// The user of this page.
    Local,
    Remote(PeerId),
}

impl TileOwner {
    pub(super) fn of(tile: &Tile) -> Self {
        tile.peer.map_or(Self::Local, Self::Remote)
    }
}

/// The user's choice of the large tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// A shared screen, while there is one.
    SharedScreen,
    /// No large tile.
    Nobody,
    Tile(TileOwner),
}

/// A handle: copies share the choice.
#[derive(Clone, Copy)]
pub(super) struct Spotlight {
    choice: RwSignal<Choice>,
    owner: Memo<Option<TileOwner>>,
}

impl Spotlight {
    /// Starts with a shared screen in the spotlight.
    pub(super) fn new(others: RwSignal<Vec<Tile>>) -> Self {
        let choice = RwSignal::new(Choice::SharedScreen);
        let owner = Memo::new(move |_| {
            let others = others.get();
            match choice.get() {
                Choice::Nobody => None,
                Choice::Tile(owner)
                    if owner == TileOwner::Local || others.iter().any(|tile| TileOwner::of(tile) == owner) =>
                {
                    Some(owner)
                }
                // A chosen participant may have left.
                Choice::Tile(_) | Choice::SharedScreen => {
                    others.iter().find(|tile| tile.media.get().screen).map(TileOwner::of)
                }
            }
        });
        Self { choice, owner }
    }

    /// True if any tile is large. Reactive.
    pub(super) fn is_on(self) -> bool {
        self.owner.get().is_some()
    }

    /// True if this participant's tile is large. Reactive.
    pub(super) fn is_on_tile_of(self, owner: TileOwner) -> bool {
        self.owner.get() == Some(owner)
    }

    /// Makes a tile large, or all tiles equal if it is large already.
    pub(super) fn toggle(self, owner: TileOwner) {
        let is_large = untrack(|| self.is_on_tile_of(owner));
        self.choice.set(if is_large { Choice::Nobody } else { Choice::Tile(owner) });
    }
}
