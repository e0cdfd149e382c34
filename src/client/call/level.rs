//! The level of a microphone (W3C Web Audio).

use wasm_bindgen::JsValue;
use web_sys::{AnalyserNode, AudioContext, MediaStream, MediaStreamAudioSourceNode, MediaStreamTrack};

/// Samples per measurement: at least 20 ms.
const SAMPLES: u32 = 1024;
/// The root mean square above which a sound counts as speech; 1 is the loudest possible sound.
const SPEECH: f64 = 0.015;

/// Measures the level of a track.
#[derive(Debug)]
pub(super) struct Meter {
    context: AudioContext,
    analyser: AnalyserNode,
    // Not all browsers keep it alive as a part of the audio graph.
    _source: MediaStreamAudioSourceNode,
    samples: Vec<f32>,
}

impl Meter {
    /// `None` where the browser does not support it.
    pub(super) fn new(track: &MediaStreamTrack) -> Option<Self> {
        let open = || -> Result<Self, JsValue> {
            let context = AudioContext::new()?;
            let stream = MediaStream::new()?;
            stream.add_track(track);
            let source = context.create_media_stream_source(&stream)?;
            let analyser = context.create_analyser()?;
            analyser.set_fft_size(SAMPLES);
            source.connect_with_audio_node(&analyser)?;
            Ok(Self { context, analyser, _source: source, samples: vec![0.0; SAMPLES as usize] })
        };
        open().ok()
    }

    /// The perceived level from 0 to 1, and whether it is speech.
    pub(super) fn measure(&mut self) -> (f64, bool) {
        self.analyser.get_float_time_domain_data(&mut self.samples);
        let power = self.samples.iter().map(|sample| f64::from(sample * sample)).sum::<f64>() / f64::from(SAMPLES);
        let rms = power.sqrt();
        // From -60 dB to 0 dB.
        let level = if rms > 0.001 { (1.0 + rms.log10() / 3.0).clamp(0.0, 1.0) } else { 0.0 };
        (level, rms > SPEECH)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.context.close();
    }
}
