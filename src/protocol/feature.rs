//! Features: additions to version 1 that only clients receive which ask for them in `hello`.

/// Declares [`Feature`] with the names on the wire.
macro_rules! features {
    ($($(#[$meta:meta])* $Variant:ident = $name:literal,)*) => {
        /// An addition to the protocol. A client names the features that it wants in `hello`, and the `ack` names those
        /// that the server grants. Nothing changes for a client that does not ask.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $($(#[$meta])* $Variant,)*
        }

        impl Feature {
            /// Every feature, in the order of PROTOCOL.md.
            pub const ALL: &[Self] = &[$(Self::$Variant,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $name,)* }
            }
        }
    };
}

features! {
    /// Edits, deletions and reactions: `message_changed`, and revisions in positions.
    Changes = "changes",
    /// In a crowded room, lists of members come in pages, and arrivals as counts: `crowd` instead of `welcome` and `bye`.
    Crowds = "crowds",
    /// Files in messages: uploads, and `attachments` in `new_message`.
    Files = "files",
    /// The `ack` of `join_call` tells how long its credentials are valid.
    IceLifetime = "ice_lifetime",
    /// Messages mention users: `mentions` in `new_message` and `edit_message`.
    Mentions = "mentions",
    /// The user's own rooms, and what they have read in them: `watch_my_rooms`.
    MyRooms = "my_rooms",
    /// Messages can be pinned: `pin_message`, and `pins`.
    Pins = "pins",
    /// The list of rooms is sent as differences: `room_update` instead of `room_change`.
    RoomUpdates = "room_updates",
    /// Messages of a room can be searched: `search`.
    Search = "search",
}

/// The features of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Every feature of this build.
    pub fn all() -> Self {
        Feature::ALL.iter().fold(Self::default(), |all, feature| all.with(*feature))
    }

    /// The features with these names. Other names belong to another build, and are ignored.
    pub fn named(names: &[String]) -> Self {
        let named = |feature: &&Feature| names.iter().any(|name| name == feature.as_str());
        Feature::ALL.iter().filter(named).fold(Self::default(), |all, feature| all.with(*feature))
    }

    /// The names on the wire.
    pub fn names(self) -> Vec<String> {
        let features = Feature::ALL.iter().filter(|feature| self.has(**feature));
        features.map(|feature| feature.as_str().to_owned()).collect()
    }

    /// These features and one more.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u32)
    }

    /// Returns whether it contains a feature.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u32 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_by_name_and_unknown_names_are_ignored() {
        assert_eq!(Features::named(&Features::all().names()), Features::all());
        assert_eq!(Features::named(&["time_travel".to_owned()]), Features::default());
        let asked = ["time_travel", "room_updates", "room_updates"].map(str::to_owned);
        assert_eq!(Features::named(&asked).names(), ["room_updates"]);
        assert!(!Features::named(&asked).has(Feature::Crowds));
        assert!(Features::named(&asked).has(Feature::RoomUpdates));
    }
}
