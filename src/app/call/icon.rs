//! The icons on buttons. Decorative: each button has a label.

use leptos::prelude::*;

/// Outlines in a view box of 24 by 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Icon {
    Microphone,
    MicrophoneOff,
    Camera,
    CameraOff,
    Screen,
    Hand,
    Smile,
    More,
    Leave,
    FullScreen,
    PictureInPicture,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Microphone => "M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
            Self::MicrophoneOff => {
                "M9 9v3a3 3 0 0 0 4.5 2.6M15 11V6a3 3 0 0 0-5.8-1M5 11a7 7 0 0 0 11 5.7M19 11a7 7 0 0 1-.6 2.8M12 18v3M4 4l16 16"
            }
            Self::Camera => "M4 7h9a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1zM14 11l7-4v10l-7-4",
            Self::CameraOff => "M9 7h4a1 1 0 0 1 1 1v4M14 14v2a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V8M16 10l5-3v9M4 4l16 16",
            Self::Screen => "M4 5h16a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zM8 20h8M12 16v4",
            Self::Hand => {
                "M8 13V6a1.5 1.5 0 0 1 3 0v5M11 5a1.5 1.5 0 0 1 3 0v6M14 7a1.5 1.5 0 0 1 3 0v7a6 6 0 0 1-6 6c-2.500 0-4-1-5.500-3L4 14.500a1.400 1.400 0 0 1 2.200-1.700L8 14.500"
            }
            Self::Smile => "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8 14a4.500 4.500 0 0 0 8 0M9 9.500v.010M15 9.500v.010",
            Self::More => "M6 12v.010M12 12v.010M18 12v.010",
            Self::Leave => "M3 15c5-5.300 13-5.300 18 0l-2.200 2.600-4-1.600v-2.400a10 10 0 0 0-5.600 0V16l-4 1.600z",
            Self::FullScreen => "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
            Self::PictureInPicture => "M3 5h18v14H3zM12 12h7v5h-7z",
        }
    }

    pub(super) fn draw(self) -> impl IntoView {
        view! {
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=self.path()></path></svg>
        }
    }
}
