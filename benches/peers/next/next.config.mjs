// The smallest production server of Next.js: one process, no image service, no compression.
export default { output: "standalone", compress: false, outputFileTracingRoot: import.meta.dirname };
