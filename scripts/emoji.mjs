// Writes the emoji and their names, for the picker (`app/room/emoji_picker`): `node scripts/emoji.mjs FOLDER`.
// Data: Unicode CLDR, by way of emojibase.
import { copyFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(new URL("../end2end/package.json", import.meta.url));
const [folder] = process.argv.slice(2);

const [en, ko] = ["en", "ko"].map((language) => require(`emojibase-data/${language}/compact.json`));
const [inEnglish, inKorean] = ["en", "ko"].map(
  (language) => require(`emojibase-data/${language}/messages.json`).groups,
);
const korean = new Map(ko.map((emoji) => [emoji.hexcode, emoji]));
// Parts of other emoji have no group, or that of components.
const isWhole = ({ group }) => group !== undefined && inEnglish[group].key !== "component";

const emoji = en.filter(isWhole).map(({ unicode, hexcode, group, label, tags = [] }) => {
  const other = korean.get(hexcode);
  const words = [...tags, ...(other.tags ?? [])].join(" ");
  return { text: unicode, group, names: { en: label, ko: other.label }, words };
});
const groups = [...new Set(emoji.map(({ group }) => group))].map((number) => ({
  number,
  names: { en: inEnglish[number].message, ko: inKorean[number].message },
}));
copyFileSync(require.resolve("emojibase-data/LICENSE"), join(folder, "emoji.LICENSE.txt"));
writeFileSync(join(folder, "emoji.json"), JSON.stringify({ groups, emoji }));
