// The smallest server that Next.js can be: one process, no image service, no compression.
export default { output: 'standalone', compress: false, outputFileTracingRoot: import.meta.dirname };
