/** Types of offerrank.js. docs/sdk.md says what each does. */

export interface Offer {
  offer_id: string;
  campaign_id: string;
  advertiser: string;
  impression_id: string;
  /** On the page, over all placements, from 0. */
  position: number;
  /** Text, never markup. */
  title: string;
  body: string;
  /** https; to be shown with its `alt`, in a place of its size. */
  image?: { url: string; alt: string; width: number; height: number };
  /** https. */
  video?: { url: string; poster: string | null; width: number; height: number };
  /** http or https; it counts the click and leads on to the advertiser. */
  click_url: string;
}

export interface Display {
  /** Most offers; the market's if absent. */
  count?: number;
  /** Pixels kept free until offers come; without it what the page's CSS says, else 30 and 84 for each offer. */
  reserve?: number;
  /** Above the offers, and the region's name; "Sponsored" if absent. */
  label?: string;
  /** Before an offer's title in the name of the button that hides it; "Hide" if absent. */
  dismissLabel?: string;
  /** Of the links; "_blank" if absent. */
  target?: string;
  /** "keep" leaves the space where there is nothing to show. */
  whenEmpty?: "collapse" | "keep";
  /** A <template>, or its selector, with data-offer="title|body|image|link|dismiss|advertiser". */
  template?: string | HTMLTemplateElement;
  /** Draws an offer itself; what it puts into the page by other means it passes to `attach`. */
  render?: (offer: Offer, attach: (element: Element) => void) => Node | null | undefined | void;
}

export interface Placement extends Display {
  /** As the market names it. */
  name: string;
  /** Where its offers go: an element, or a selector. */
  into: string | Element;
}

export type OfferRankEvent =
  | { type: "shown" | "impression" | "click" | "dismiss"; placement: string; offer: Offer }
  /** Nothing to show: the API's reason, or "unusable", "dismissed", "error". */
  | { type: "empty"; placement: string; reason: string }
  | { type: "error"; error: Error };

export type Consent = boolean | undefined | Promise<boolean>;

export interface Options extends Display {
  /** A publisher's key that these pages' origin may send. */
  key: string;
  /** Where the gateway is; where the script came from if absent. */
  gateway?: string;
  placements: Placement[];
  shopper?: { key?: string; attributes?: Record<string, unknown> };
  context?: Record<string, unknown>;
  /** true: know the shopper again; absent: pass on what `shopper` says; false, or GPC: not even that. */
  consent?: Consent | (() => Consent);
  /** Milliseconds to wait for offers; 2000 if absent. */
  timeout?: number;
  onEvent?: (event: OfferRankEvent) => unknown;
}

export interface Mounted {
  /** Takes the offers away and gives back what is reserved for them. */
  unmount(): void;
  /** How many offers are shown, once that is known; never rejects. */
  readonly done: Promise<number>;
}

export interface Sdk {
  readonly version: string;
  mount(options: Options): Mounted;
  push(...wanted: Array<Options | ((sdk: Sdk) => void)>): void;
}

declare global {
  interface Window {
    /** An array of what to do until the script has loaded. */
    OfferRank: Sdk | Array<Options | ((sdk: Sdk) => void)>;
  }
  interface DocumentEventMap {
    offerrank: CustomEvent<OfferRankEvent>;
  }
}
