import { characterEntities } from "character-entities";

/** What the Markdown parser's build for pages needs of a document. A bundler may take that build for a worker, too, which has none. */
class Decoder {
  textContent = "";

  set innerHTML(reference: string) {
    const name = reference.slice(1, -1);
    this.textContent = Object.hasOwn(characterEntities, name)
      ? (characterEntities[name] ?? reference)
      : reference;
  }
}

if (!("document" in globalThis))
  Object.assign(globalThis, { document: { createElement: () => new Decoder() } });
