//! How loud a microphone is.

use wasm_bindgen::JsValue;
use web_sys::{AnalyserNode, AudioContext, MediaStream, MediaStreamAudioSourceNode, MediaStreamTrack};

/// Samples that one look takes in: 20 ms and more.
const SAMPLES: u32 = 1024;
/// Louder than this is speech (root mean square, of 1).
const SPEECH: f64 = 0.015;

/// Listens to a track.
#[derive(Debug)]
pub(super) struct Meter {
    context: AudioContext,
    analyser: AnalyserNode,
    // Kept, because the graph does not keep it in all browsers.
    _source: MediaStreamAudioSourceNode,
    samples: Vec<f32>,
}

impl Meter {
    /// Listens; `None` where the browser cannot.
    pub(super) fn new(track: &MediaStreamTrack) -> Option<Self> {
        let listen = || -> Result<Self, JsValue> {
            let context = AudioContext::new()?;
            let stream = MediaStream::new()?;
            stream.add_track(track);
            let source = context.create_media_stream_source(&stream)?;
            let analyser = context.create_analyser()?;
            analyser.set_fft_size(SAMPLES);
            source.connect_with_audio_node(&analyser)?;
            Ok(Self { context, analyser, _source: source, samples: vec![0.0; SAMPLES as usize] })
        };
        listen().ok()
    }

    /// How loud it is now, from 0 to 1, as a person would say it; and whether that is speech.
    pub(super) fn look(&mut self) -> (f64, bool) {
        self.analyser.get_float_time_domain_data(&mut self.samples);
        let power = self.samples.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / f64::from(SAMPLES);
        let loud = power.sqrt();
        // From -60 dB to 0 dB.
        let level = if loud > 0.001 { (1.0 + loud.log10() / 3.0).clamp(0.0, 1.0) } else { 0.0 };
        (level, loud > SPEECH)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.context.close();
    }
}
