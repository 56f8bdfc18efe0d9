// Verifies a bundle with Sigstore's own verifier: node verify.cjs MODULES BUNDLE PUBLIC_KEY. Prints the payload.
const { createRequire } = require("module");
const crypto = require("crypto");
const fs = require("fs");

const [modules, bundlePath, keyPath] = process.argv.slice(2);
const from = createRequire(modules + "/");
const { bundleFromJSON } = from("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = from("@sigstore/verify");

const publicKey = crypto.createPublicKey(fs.readFileSync(keyPath));
const id = crypto.createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64");
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundlePath, "utf8")));
const root = { mediaType: "", tlogs: [], ctlogs: [], certificateAuthorities: [], timestampAuthorities: [] };
const find = (hint) => (hint === id ? { publicKey, validFor: () => true } : undefined);
const none = { tlogThreshold: 0, ctlogThreshold: 0, tsaThreshold: 0 };

new Verifier(toTrustMaterial(root, find), none).verify(toSignedEntity(bundle));
process.stdout.write(bundle.content.dsseEnvelope.payload);
