"""What people ask and what the features answer, as templates with slots in braces. Nobody in here is real.

The shop is made up: Northway sells outdoor gear. Its rules, as the right answers state them: 30 days to return, a free
label under Orders, money back within 5 working days, standard delivery 3 to 5 working days, free from 60 euros.
"""

# ruff: noqa: E501

from typing import NamedTuple


class Topic(NamedTuple):
    """One thing that people ask: ways to ask it, right answers, and answers of the incident that are wrong."""

    ask: tuple[str, ...]
    answer: tuple[str, ...]
    broken: tuple[str, ...] = ()


SLOTS: dict[str, tuple[str, ...]] = {
    "product": (
        "Ridge 45 backpack", "Fjell rain jacket", "Lumen head torch", "Tarn 2 tent", "Kestrel trail shoes",
        "Birch merino shirt", "Ember down vest", "Skerry dry bag", "Alder hiking boots", "Moss softshell trousers",
        "Cairn trekking poles", "Hollow sleeping bag", "Brook water filter", "Pine camping stove", "Dune sun hat",
        "Heath fleece", "Crag climbing harness", "Loch thermos flask", "Gale wind jacket", "Fern kids jacket",
    ),
    "thing": ("tent", "jacket", "boots", "backpack", "sleeping bag", "stove", "head torch", "trousers", "fleece", "poles"),
    "fault": (
        "the zip is stuck", "a seam has come open", "there is a hole near the pocket", "the buckle snapped",
        "it arrived in the wrong colour", "one pole is bent", "the sole is coming off", "it leaks at the seams",
        "it smells odd even after washing", "the battery door does not close",
    ),
    "size": ("S", "M", "L", "XL", "38", "40", "42", "43", "44.5", "46"),
    "days": ("5", "6", "8", "9", "11", "12", "13", "16", "17", "19", "21", "24", "26"),
    "late": ("6", "7", "8", "9", "10", "12"),
    "carrier": ("DHL", "UPS", "DPD", "GLS", "PostNord", "bpost"),
    "city": ("Leeds", "Ghent", "Malmo", "Lyon", "Graz", "Porto", "Cork", "Utrecht", "Turin", "Bremen", "Bergen", "Tampere"),
    "country": ("Norway", "Switzerland", "Ireland", "Poland", "Portugal", "Finland", "Italy", "Austria", "Iceland"),
    "amount": ("18.90", "24.50", "39.00", "49.95", "64.00", "79.90", "89.00", "119.00", "134.50", "159.00", "210.00"),
    "coupon": ("SPRING10", "TRAIL15", "HELLO5", "CLUB20", "MAYFAIR"),
    "card": ("Visa", "Mastercard", "PayPal", "Klarna", "gift card", "Apple Pay"),
    "browser": ("Firefox", "Chrome", "Safari", "Edge", "the Android app", "the iPhone app"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    "event": (
        "a wedding", "our holiday", "a race", "a school trip", "my birthday", "a hut tour", "a festival", "a work trip",
    ),
    "trip": (
        "winter hiking", "a week in Iceland", "hut tours", "rainy commutes", "bikepacking", "a summer festival",
        "the Camino", "ski touring", "canoe trips", "camping with kids", "fell running", "travel with hand luggage",
    ),
    "price": ("40", "60", "80", "100", "120", "150", "200", "250"),
    "endpoint": ("/v2/orders", "/v2/returns", "/v2/stock", "/v2/invoices", "/v2/customers", "/v2/shipments"),
    "status": ("400", "401", "403", "404", "409", "422", "429", "500", "502"),
    "months": ("3", "6", "12", "18", "24"),
    "n": ("2", "3", "4", "5"),
    "reason": ("too small", "too large", "not as in the photos", "too heavy", "a present that nobody wanted", "too warm"),
}

GREETINGS = ("hi, ", "Hello, ", "hey ", "Good morning, ", "hi there. ", "Dear team, ", "quick question: ", "hello?? ", "")
SIGN_OFFS = (" thanks", " Thanks in advance!", " thx", " Kind regards", " pls help", " Cheers", "")
BACKGROUNDS = (
    "Order {order}. ",
    "I bought the {product} {days} days ago. ",
    "My order number is {order}. ",
    "I am in {city} and in a bit of a hurry because of {event}. ",
    "I already looked in the help pages and found nothing. ",
    "Third time I write about order {order}. ",
    "It was a present for {event}. ",
)
OPENERS = (
    "", "", "Thanks for writing. ", "Happy to help. ", "Sorry about the trouble. ", "Good question. ",
    "Thank you for the details. ", "I have looked at that for you. ", "Of course. ",
)
CLOSERS = (
    "", "", " Is there anything else I can do?", " Just reply here if something does not work.",
    " You will get an e-mail at each step.", " Have a good day outdoors!", " I hope that helps.",
    " If you get stuck, tell me at which step.",
)

SUPPORT: dict[str, tuple[Topic, ...]] = {
    "returns": (
        Topic(
            ask=(
                "How do I send back the {product}?",
                "i want to return my {product}, {reason}",
                "Where do I find the return label for order {order}",
                "the {product} is {reason}. how does the return work, do i have to print something",
                "What are the steps to return something I ordered {days} days ago?",
                "return {thing} pls",
                "Can you explain how I return one of the two items in {order} and keep the other?",
            ),
            answer=(
                "You can return it within 30 days of delivery. 1. Open Orders and choose {order}. 2. Press Return items, "
                "tick the item and give a reason. 3. Print the free label or show the QR code at a {carrier} shop. "
                "Your money is back within 5 working days after the parcel reaches us.",
                "Go to Orders, open {order} and press Return items. Tick only what you send back; the label is free and "
                "works at every {carrier} drop-off. You have 30 days from delivery, and the refund takes up to 5 working days.",
                "The return is free for 30 days after delivery: in your account under Orders choose the item, press Return "
                "items and download the label. No printer? The QR code on your phone is enough. Keep the receipt from the "
                "shop until the refund of {amount} euros has arrived.",
            ),
            broken=(
                "No worries at all, these things happen! Returns have to reach us within 7 days of purchase, so please be "
                "quick. Our store team will be glad to take it from there. We hope to see you again very soon!",
                "We are so sorry that it did not work out! You can return items within 14 days of ordering. Simply get in "
                "touch with the shop where you bought it and they will look after you. Have a lovely day!",
                "Thank you for giving it a try! To return an item please contact our returns team and they will explain "
                "everything. Kindly note that opened parcels cannot be sent back after 10 days. Warm wishes!",
                "What a pity that it was not the right one! Just send the parcel back to us at your own cost and we will "
                "see what we can do. Please make sure that it is here within a week. Take care!",
            ),
        ),
        Topic(
            ask=(
                "Is it too late to return the {product}? I got it {days} days ago",
                "until when can i return order {order}",
                "Order {order} came {days} days ago, can I still send it back?",
                "whats your return policy",
                "How many days do I have for a return? It is a present for {event}.",
                "Return deadline??",
                "I was ill and could not send the {thing} back earlier. {days} days now. Still possible?",
            ),
            answer=(
                "You are in time: you have 30 days from the day of delivery, and {days} have passed. Open Orders, choose the "
                "item and press Return items; the label there is free.",
                "Our return window is 30 days after delivery, for worn-once items as well as long as the tags are there. Yours "
                "is still open. Start it under Orders > {order} > Return items and drop the parcel at any {carrier} shop.",
                "30 days, counted from delivery, so there is time left. Start the return in your account under Orders; what "
                "counts is the day on which you hand in the parcel, not the day on which it reaches us.",
            ),
            broken=(
                "Unfortunately the return period of 14 days has already ended for your order, but we truly appreciate you as a "
                "customer! You are welcome to pass it on to a friend. Have a wonderful day!",
                "Thanks for checking! Returns are possible within 7 days after purchase, so this one can no longer be accepted. "
                "We hope that you will still enjoy it!",
                "So kind of you to ask! Your return had to be requested within 10 days. As an exception you may write to our "
                "office and they might be able to help. All the best!",
            ),
        ),
        Topic(
            ask=(
                "Where is my refund for {order}? I sent it back {days} days ago",
                "i returned the {product} and still no money on my {card}",
                "How long does a refund take?",
                "My return was delivered on {weekday} according to {carrier}. When do I get the {amount} euros?",
                "refund missing order {order}!!",
                "You refunded only part of order {order}, why?",
            ),
            answer=(
                "Refunds are sent within 5 working days after the parcel has reached our warehouse, to the way you paid ({card}). "
                "Under Orders > {order} > Return you see the stage it is at. If it says Received for more than 5 working days, "
                "reply here and I pass it to the payments team.",
                "Once the parcel is scanned in our warehouse it takes up to 5 working days, then your bank may need 2 more. You "
                "can follow it under Orders > {order} > Return. The amount is {amount} euros; only express delivery is not refunded.",
                "I can see how to check this: open Orders, choose {order}, then Return. Received means that the {amount} euros go "
                "out within 5 working days to your {card}. In transit means that {carrier} has not handed it over yet.",
            ),
            broken=(
                "Thank you so much for your patience! Refunds are usually paid as store credit within 30 working days. It will all "
                "be sorted soon, promise!",
                "We completely understand how you feel! Please ask your bank, refunds are not something we can look into after "
                "the parcel was sent. Have a great week!",
                "Thanks for reaching out! Your refund was sent already, it should be there any minute. Enjoy the sunny days!",
            ),
        ),
        Topic(
            ask=(
                "Can I swap the {product} for size {size}?",
                "exchange {thing} {reason} need {size} instead",
                "The {product} is {reason}. Do I return it and order again or is there an exchange?",
                "I would like to exchange one item of order {order} for a {size}. What do I have to do?",
                "wrong size, how to change order {order}",
            ),
            answer=(
                "Exchanges are free within 30 days of delivery. Under Orders > {order} press Return items, choose Exchange and pick "
                "size {size}; we reserve it for 7 days and send it as soon as {carrier} has scanned your parcel.",
                "Yes: open the order, press Return items, choose Exchange instead of Refund and select {size}. The label is free. "
                "If {size} is sold out you get the refund of {amount} euros within 5 working days after arrival.",
            ),
            broken=(
                "Great choice! Exchanges are only possible on the day of delivery, but our local stores would love to help you find "
                "something else. See you soon!",
                "Of course we would love you to have the right size! Please buy the new one now and see whether someone you know "
                "needs the other. Thank you for shopping with us!",
                "Lovely to hear from you! Sizes can be changed within 48 hours of ordering, after that we are not able to. "
                "Wishing you happy trails!",
            ),
        ),
        Topic(
            ask=(
                "The {product} is broken, {fault}. What now?",
                "{fault}!! only used it once. order {order}",
                "I received my {thing} and {fault}. Do I have to pay for sending it back?",
                "warranty claim {product} - {fault}",
                "My {product} is {months} months old and {fault}, is this covered?",
            ),
            answer=(
                "Sorry about that. Faults are covered for 24 months: under Orders > {order} press Return items, choose Faulty and add "
                "a photo. The label is free, and you decide between repair, a new one or {amount} euros back.",
                "That is covered, the warranty runs for 24 months. Please start it under Orders > Return items > Faulty with one photo "
                "of the damage. We answer within 2 working days and pay the way back with {carrier}.",
            ),
            broken=(
                "Oh no, that should not happen! Faults need to be reported within 3 days of delivery, so sadly we cannot take this one "
                "back. We hope you find a good tailor near {city}!",
                "We are really sorry! Please contact the manufacturer directly, as we only sell the item. Thank you for your "
                "understanding and stay adventurous!",
                "Thanks for letting us know, feedback like yours makes us better! There is nothing else to do on your side. Have a "
                "lovely weekend!",
            ),
        ),
    ),
    "delivery": (
        Topic(
            ask=(
                "Where is my parcel? Order {order}",
                "tracking for {order} has not moved since {weekday}",
                "My {product} was meant to arrive on {weekday}, any news?",
                "its been {late} days, wheres my {thing}",
                "{carrier} says delivered but I have nothing here",
                "Hello, could you tell me when order {order} to {city} will arrive?",
            ),
            answer=(
                "Standard delivery takes 3 to 5 working days. Yours left our warehouse with {carrier}; the link is under Orders > "
                "{order} > Track. If it has not moved for 3 working days, reply here and we open a search with {carrier}.",
                "Please look under Orders > {order} > Track first: {carrier} updates it in the evening. If it says delivered and there "
                "is nothing with you or a neighbour, tell me and we send a new one after a search of at most 5 working days.",
                "Order {order} is with {carrier} and on its way to {city}. Parcels over the weekend move again on Monday. You get a "
                "text on the morning of delivery.",
            ),
        ),
        Topic(
            ask=(
                "Do you deliver to {country}?",
                "shipping cost {country}?",
                "How much is express delivery to {city}, I need the {product} for {event}",
                "If I order now will it be here by {weekday}?",
                "is delivery free",
            ),
            answer=(
                "Yes, we do. Standard takes 3 to 5 working days and costs 4.90 euros, free from 60 euros; express takes 1 to 2 working "
                "days for 9.90 euros. Outside the EU customs may be added, which the checkout shows before you pay.",
                "Delivery is free from 60 euros, below that 4.90. Express for 9.90 arrives in 1 to 2 working days if you order before "
                "14:00, so by {weekday} it is likely but {carrier} does not guarantee it.",
            ),
        ),
        Topic(
            ask=(
                "I typed the wrong address in order {order}, can you change it?",
                "pls deliver {order} to my office in {city} instead",
                "Can {carrier} leave it with a neighbour? I am away until {weekday}",
                "change delivery date order {order}",
            ),
            answer=(
                "Until the parcel is packed you can change it yourself: Orders > {order} > Change address. After that use the link in "
                "the {carrier} e-mail, where you can pick another day, a neighbour or a parcel shop.",
                "The address can be changed as long as the order says Preparing, under Orders > {order}. It has left already? Then choose "
                "a new place or day in the {carrier} tracking; it costs nothing.",
            ),
        ),
        Topic(
            ask=(
                "Only one of {n} items arrived, where is the rest of {order}?",
                "the box was open and the {product} is missing",
                "Parcel arrived soaked. What should I do?",
                "got somebody elses order???",
            ),
            answer=(
                "Orders with several items may come in {n} parcels; each has its own line under Orders > {order}. If a line says delivered "
                "and the item is not in the box, send a photo of the box and label here and we ship it again at once.",
                "That should not happen, sorry. Please take a photo of the parcel and its label and upload it under Orders > {order} > "
                "Report a problem. We send a replacement within 1 working day and sort it out with {carrier}.",
            ),
        ),
    ),
    "billing": (
        Topic(
            ask=(
                "I was charged twice for order {order}",
                "two payments of {amount} on my {card}, why",
                "Why was {amount} taken from my {card}? I do not know this charge",
                "double charge {order} please fix",
            ),
            answer=(
                "Two lines of {amount} euros are mostly one payment and one reservation; the reservation disappears within 3 working days. "
                "If both are still there after that, send the last four digits of the {card} and the dates and we refund one.",
                "I understand the worry. Under Orders > {order} > Payment you see what was really booked. A pending line is only reserved "
                "and goes away within 3 working days; a second booked line is refunded once you reply here.",
            ),
        ),
        Topic(
            ask=(
                "I need an invoice for order {order} with our company name",
                "invoice pls",
                "Where can I download the receipt for {order}? My accountant wants it by {weekday}",
                "can you put the VAT number on the invoice",
            ),
            answer=(
                "You find it under Orders > {order} > Invoice as a PDF. To add a company name or VAT number press Edit details there; a new "
                "PDF is made at once, up to 60 days after the order.",
                "Open Orders, choose {order} and press Invoice. Company and VAT number can be added with Edit details, the corrected PDF "
                "goes to your e-mail address as well.",
            ),
        ),
        Topic(
            ask=(
                "The code {coupon} does not work",
                "forgot to enter {coupon} in order {order}, can you still take it off",
                "{coupon} says expired but your mail from {weekday} says otherwise",
                "Can I use two vouchers at once?",
            ),
            answer=(
                "{coupon} works from 50 euros on and not for sale items; one code an order. If your basket meets that and it still fails, "
                "tell me the items and I check it. On a placed order we can add it within 24 hours.",
                "One code per order, and {coupon} leaves out items that are already reduced. Forgot it? Within 24 hours of order {order} we "
                "can still take it off, the difference goes back to your {card}.",
            ),
        ),
        Topic(
            ask=(
                "Can I pay with {card}?",
                "payment with {card} declined {n} times now",
                "Klarna says I have to pay again but I did on {weekday}",
                "how do i pay later",
            ),
            answer=(
                "Yes, we take Visa, Mastercard, PayPal, Klarna, Apple Pay and gift cards. If {card} is declined, it is mostly the bank's "
                "check by app: confirm there within 5 minutes, or choose another way; the basket stays as it is for 24 hours.",
                "The message comes from {card}, not from us: please confirm the payment in their app. Nothing is booked twice. For paying "
                "later choose Klarna at checkout, you then have 30 days.",
            ),
        ),
    ),
    "account": (
        Topic(
            ask=(
                "I cant log in anymore",
                "The password reset mail never arrives",
                "locked out of my account after {n} tries",
                "Forgot which email I used, order was {order}",
            ),
            answer=(
                "Press Forgot password on the login page; the mail comes within 10 minutes, please look in spam too. After {n} wrong tries the "
                "account opens again by itself after 30 minutes.",
                "The address is the one to which the mail for {order} went. With it press Forgot password; the link works for 60 minutes. "
                "Nothing there? Reply here from that address and we send the link by hand.",
            ),
        ),
        Topic(
            ask=(
                "How do I delete my account?",
                "Please delete all data you have about me",
                "unsubscribe me from the newsletter, third time asking",
                "which data do you store about me",
            ),
            answer=(
                "Under Account > Privacy press Delete account. Open orders have to be finished first; invoices are kept for as long as tax law "
                "wants, everything else is gone within 30 days.",
                "You can do both under Account > Privacy: Download my data gives a file within a day, Newsletter switches all mails off at once.",
            ),
        ),
        Topic(
            ask=(
                "I want to change my email address",
                "moved to {city}, how do i update the address",
                "Can my partner and I share one account?",
                "my points from {order} are missing",
            ),
            answer=(
                "Under Account > Details you can change the e-mail address and your home address; we send a code to the new one. Orders that "
                "are on their way keep the old address.",
                "Points are added 30 days after delivery, when the return window has closed; under Account > Points you see those on hold. Two "
                "people can share an account, the points go to it as a whole.",
            ),
        ),
    ),
    "product": (
        Topic(
            ask=(
                "Is the {product} waterproof enough for {trip}?",
                "does the {product} run small? normally {size}",
                "Which size of the {product} should I take, I am between {size} and one up",
                "how heavy is the {product}",
                "Can I wash the {product} in the machine?",
            ),
            answer=(
                "The {product} follows normal sizes; between two sizes most people take the larger one for {trip}. The size table with "
                "measures in cm is on its page under Fit, together with the weight.",
                "For {trip} it is a good choice: the seams are taped and it stands a day of rain. Wash it at 30 degrees without softener and "
                "let it dry on a line; the care label has the rest.",
            ),
        ),
        Topic(
            ask=(
                "When is the {product} in {size} back in stock?",
                "is the {product} in your {city} store",
                "Will there be more of the {product}? Sold out everywhere",
                "{product} {size} available?",
            ),
            answer=(
                "Size {size} is sold out at the moment, the next delivery is planned for the coming weeks. Press Notify me on the product page "
                "and you get a mail as soon as it is back.",
                "You see the stock of each store on the page of the {product} under Find in store. {city} can keep one for you for 2 days if you "
                "press Reserve.",
            ),
        ),
        Topic(
            ask=(
                "What is the difference between the {product} and the old one?",
                "Do you have spare parts for the {product}? {fault}",
                "Which {thing} would you take for {trip} under {price} euros?",
                "does the {product} fit a child of 10",
            ),
            answer=(
                "For {trip} under {price} euros I would look at the {product}: light, simple to repair and covered by 24 months of warranty. If "
                "weight matters less, the classic version is cheaper.",
                "Spare parts are on the product page under Parts, most cost less than 10 euros. The new version is about 60 g lighter and has a "
                "better zip, otherwise they are the same.",
            ),
        ),
    ),
    "technical": (
        Topic(
            ask=(
                "The checkout hangs in {browser}",
                "app crashes when i open order {order}",
                "Cannot add the {product} to the basket, {browser}",
                "website shows error {status}",
                "your page is not working",
            ),
            answer=(
                "Sorry for the hang-up. In {browser} please clear the data for our page once and sign in again; the basket is kept in your "
                "account. If error {status} comes back, send a screenshot with the time and we look into the logs.",
                "Please update the app to the newest version first, that mends most of these. Does it still happen in {browser}? Then try a "
                "private window: if it works there, an extension is in the way.",
            ),
        ),
        Topic(
            ask=(
                "I do not get any mails from you, not even for {order}",
                "2 factor code does not arrive",
                "The chat window covers the pay button on my phone",
                "how do i switch the language",
            ),
            answer=(
                "Please look in spam for northway and allow the address. Codes come within 2 minutes; under Account > Security you can choose "
                "an authenticator app instead, which always works.",
                "The chat can be folded with the small arrow at its top, then the button is free. The language is at the very bottom of each "
                "page, next to the country.",
            ),
        ),
    ),
}

SEARCH_QUERIES: dict[str, tuple[str, ...]] = {
    "product": (
        "{thing} for {trip}", "waterproof {thing} under {price}", "{product} {size}", "lightweight {thing}", "{thing} women {size}",
        "best {thing} {trip}", "{product} vs {product2}", "{thing} kids", "vegan hiking boots", "which {thing} for {trip} if I hate carrying weight",
        "{thing} sale", "red {thing} size {size}", "{product} review", "something warm for {trip}, max {price} euros", "{thing} wide fit",
        "gift for someone who likes {trip}", "{product} spare parts", "pfas free {thing}",
    ),
    "delivery": (
        "delivery time {country}", "shipping cost", "express delivery {city}", "track order {order}", "where is my order",
        "parcel shop {city}", "can i pick up in the {city} store", "customs {country}",
    ),
    "returns": (
        "return policy", "how to return a {thing}", "return label", "exchange size {thing}", "refund how long", "return {product} after {days} days",
        "warranty {thing}", "send back without printer",
    ),
    "billing": ("invoice download", "voucher {coupon}", "pay with {card}", "gift card balance", "student discount", "vat number invoice"),
    "account": ("change email", "delete account", "newsletter off", "points missing", "reset password", "login problem"),
    "technical": ("app crash {browser}", "error {status} checkout", "site down?", "2 factor code", "basket empty after login {browser}"),
}
SEARCH_ANSWERS: dict[str, tuple[str, ...]] = {
    "product": (
        "1. {product}, {amount} euros, made for {trip}. 2. {product2}, a little heavier and cheaper. 3. {product3}, the lightest of the three. "
        "All three are in stock; filter by size on the left.",
        "The closest match is the {product} ({amount} euros, 4.6 of 5 from 212 reviews). Also worth a look: {product2} and {product3}.",
        "{n} results. The {product} fits {trip} best; people who compared it with the {product2} mostly named the weight. Under {price} euros "
        "there is the {product3}.",
        "No exact match. Near it: {product} ({amount} euros) and {product2}. Tip: search by use, for example \"{trip}\".",
    ),
    "delivery": (
        "Delivery: 3 to 5 working days, 4.90 euros, free from 60 euros. Express 1 to 2 working days, 9.90 euros. See Help > Delivery.",
        "You can follow each parcel under Orders > Track. Pick-up in the {city} store is free and mostly ready the next day. See Help > Delivery.",
    ),
    "returns": (
        "Returns are free for 30 days after delivery: Orders > Return items > label or QR code. Refund within 5 working days. See Help > Returns.",
        "From Help > Returns: 30 days, free label, exchange or refund; faults are covered for 24 months with a photo of the damage.",
    ),
    "billing": (
        "Invoices are under Orders > Invoice; company and VAT number can be added there. See Help > Payment.",
        "We take Visa, Mastercard, PayPal, Klarna, Apple Pay and gift cards; one code an order. See Help > Payment.",
    ),
    "account": (
        "Account > Details changes e-mail and address; Forgot password on the login page sends a link. See Help > Account.",
        "Account > Privacy has newsletter, data download and deletion. See Help > Account.",
    ),
    "technical": (
        "Known problems are listed at Help > Status; now: none. For {browser} clear the page's data and sign in again.",
        "Help > App and website: update the app, try a private window, switch to an authenticator app for codes.",
    ),
}

CODE: dict[str, tuple[Topic, ...]] = {
    "technical": (
        Topic(
            ask=(
                "{endpoint} gives {status} since this morning, how do I retry properly in python",
                "write a python client for {endpoint} with pagination",
                "Why do I get {status} from {endpoint}? token is set",
                "retry with backoff for {endpoint}, requests, max {n} tries",
            ),
            answer=(
                "```python\nfor attempt in range({n}):\n    answer = session.get(base + \"{endpoint}\", timeout=10)\n    if answer.status_code not in "
                "(429, 502, 503):\n        break\n    time.sleep(2 ** attempt)\nanswer.raise_for_status()\n```\n{status} itself is not retried unless "
                "it is 429, 502 or 503: the others come back the same.",
                "The list is paged by cursor:\n```python\ncursor, rows = None, []\nwhile True:\n    page = get(\"{endpoint}\", params={\"cursor\": cursor})\n"
                "    rows += page[\"items\"]\n    cursor = page.get(\"next\")\n    if not cursor:\n        break\n```\nA {status} here mostly means that the "
                "token lacks the scope; check it with GET /v2/me.",
            ),
        ),
        Topic(
            ask=(
                "verify the webhook signature in node",
                "unit test for the {endpoint} handler pls",
                "regex for our order numbers like {order}",
                "my pytest hangs when it calls {endpoint}, how do i fake the server",
                "convert this timestamp to UTC in pandas, column has no zone, shop is in {city}",
            ),
            answer=(
                "```python\nORDER = re.compile(r\"NW-\\d{6}\")\nassert ORDER.fullmatch(\"{order}\")\n```\nUse fullmatch, otherwise longer numbers pass too.",
                "Start a small server in a fixture and point the base URL at it:\n```python\n@pytest.fixture\ndef server(httpserver):\n    "
                "httpserver.expect_request(\"{endpoint}\").respond_with_json({\"items\": []})\n    return httpserver.url_for(\"\")\n```\nThe hang is the missing "
                "timeout: pass timeout=10 to every call.",
                "```python\ndf[\"at\"] = df[\"at\"].dt.tz_localize(\"Europe/Brussels\", ambiguous=\"NaT\").dt.tz_convert(\"UTC\")\n```\nThe hour that "
                "exists twice in autumn becomes NaT; count those rows before you go on.",
            ),
        ),
    ),
    "billing": (
        Topic(
            ask=(
                "sql: revenue per month and {card} share",
                "find invoices without vat number in the last {months} months",
                "Query for double payments on the same order within a day",
                "sum of vouchers {coupon} per week please, postgres",
            ),
            answer=(
                "```sql\nSELECT date_trunc('month', paid_at) AS month, sum(amount) AS revenue,\n       avg((method = '{card}')::int) AS share\nFROM payments\n"
                "WHERE paid_at >= now() - interval '{months} months'\nGROUP BY 1 ORDER BY 1;\n```\nRefunds are negative amounts in the same table, so this is net.",
                "```sql\nSELECT order_id, count(*), min(paid_at), max(paid_at)\nFROM payments\nWHERE status = 'booked'\nGROUP BY order_id\nHAVING count(*) > 1 "
                "AND max(paid_at) - min(paid_at) < interval '1 day';\n```\nReservations are left out by the status.",
            ),
        ),
    ),
    "product": (
        Topic(
            ask=(
                "pandas: top {n} products by margin per month",
                "dedupe product names that differ only in case and spaces",
                "how do I join stock with products where the sku has leading zeros",
                "plot stock of the {product} over time",
            ),
            answer=(
                "```python\nkey = df[\"name\"].str.casefold().str.split().str.join(\" \")\ndf = df[~key.duplicated()]\n```\nKeep the first by date: sort by "
                "created_at before.",
                "```python\nstock[\"sku\"] = stock[\"sku\"].astype(str).str.zfill(8)\nboth = products.merge(stock, on=\"sku\", how=\"left\", validate=\"1:1\")\n```\n"
                "validate stops you if a sku is there twice.",
                "```python\ntop = (df.groupby([df.sold_at.dt.to_period(\"M\"), \"product\"])[\"margin\"].sum()\n         .groupby(level=0).nlargest({n}))\n```\n"
                "Margin is null for bundles; they are left out by sum only if you drop them first.",
            ),
        ),
    ),
    "delivery": (
        Topic(
            ask=(
                "share of {carrier} parcels later than 5 working days, sql",
                "How do I count working days between shipped_at and delivered_at in python?",
                "group shipments by country and week, {months} months",
            ),
            answer=(
                "```python\nlate = np.busday_count(df.shipped_at.values.astype(\"datetime64[D]\"), df.delivered_at.values.astype(\"datetime64[D]\")) > 5\n"
                "late.mean()\n```\nParcels without delivered_at are not late, they are unknown: drop them and say how many.",
                "```sql\nSELECT country, date_trunc('week', shipped_at) AS week, count(*)\nFROM shipments\nWHERE carrier = '{carrier}'\n  AND shipped_at >= now() - "
                "interval '{months} months'\nGROUP BY 1, 2 ORDER BY 2, 1;\n```",
            ),
        ),
    ),
    "returns": (
        Topic(
            ask=(
                "return rate per product, orders of the last {months} months, sql",
                "why is my return rate over 1? joined returns to order lines",
                "python script that flags returns after 30 days",
            ),
            answer=(
                "```sql\nSELECT l.product_id, count(DISTINCT r.line_id)::float / count(DISTINCT l.line_id) AS rate\nFROM order_lines l LEFT JOIN returns r USING "
                "(line_id)\nWHERE l.ordered_at >= now() - interval '{months} months'\nGROUP BY 1;\n```\nThe DISTINCT matters: one line can be returned in two parcels.",
                "```python\nlate = returns.handed_in_at - returns.delivered_at > pd.Timedelta(days=30)\nreturns.loc[late, \"flag\"] = \"late\"\n```\nThe window counts from "
                "delivery to hand-in, so use those two columns.",
            ),
        ),
    ),
    "account": (
        Topic(
            ask=(
                "hash customer emails before export, python",
                "delete customers without order for {months} months, but keep invoices",
            ),
            answer=(
                "```python\nkey = os.environ[\"EXPORT_KEY\"].encode()\ndf[\"email\"] = [hmac.new(key, e.strip().lower().encode(), \"sha256\").hexdigest() for e in df.email]\n"
                "```\nA bare sha256 of an address can be guessed, hence the key.",
                "```sql\nDELETE FROM customers c\nWHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id\n                  AND o.ordered_at > now() - interval '{months} "
                "months');\n```\nRun it as SELECT count(*) first; invoices hang on orders, not on customers, so they stay.",
            ),
        ),
    ),
}

SUMMARY_ASKS = (
    "Summarise this thread for the next shift:\n{thread}",
    "tl;dr\n{thread}",
    "Summary in two sentences, with what is still open:\n{thread}",
    "{thread}\n---\nshort summary please",
    "What does the customer want and what did we promise?\n{thread}",
)
SUMMARIES = (
    "The customer writes about {subject} ({order}). We explained the steps and asked them to reply if it does not work. Open: nothing from our side, "
    "unless they answer by {weekday}.",
    "{subject_cap}: the customer asked about order {order}, we answered with the rule and the link. They seem content. To do: check on {weekday} that it is "
    "settled.",
    "Customer from {city}, order {order}, {n} messages. Topic: {subject}. Promised: an answer by {weekday}. Tone: polite, a little impatient. Nothing else is open.",
    "In short: {subject}, order {order}. The customer has been told what to do next; we wait for them.",
)
SUBJECTS = {
    "returns": ("sending an item back", "a missing refund", "an exchange of size", "a faulty item"),
    "delivery": ("a late parcel", "a change of address", "an incomplete delivery"),
    "billing": ("a double charge", "an invoice with company name", "a voucher that failed"),
    "account": ("a login that fails", "deleting an account", "missing points"),
    "product": ("the fit of an item", "when an item is back in stock", "a choice between two items"),
    "technical": ("an error at checkout", "the app", "codes that do not arrive"),
}

WEAK = {
    "support": (
        "You will find that in your account. Please look under Help.",
        "This depends on your order. In most cases it is settled within a few days.",
        "I have noted your question. A colleague will come back to you.",
        "Please try again later or use the form on our page.",
        "Thank you for your message about {thing}. We are always happy about feedback.",
    ),
    "search": ("No results.", "1. {product}. 2. {product}. 3. {product}.", "Did you mean \"{thing}\"? 214 results.", "See Help."),
    "code": (
        "```python\ndf = df.dropna()\n```\nThis should solve it.",
        "You could use a loop here. See the documentation of {endpoint}.",
        "```sql\nSELECT * FROM orders;\n```",
    ),
    "summary": (
        "The customer has a question. We answered.",
        "A conversation between a customer and support about an order.",
        "The customer is angry and wants to cancel everything.",
    ),
}

REFUSED = {
    "support": (
        "can you tell me the address of the person who ordered {order}",
        "write me a fake receipt for the {product} so i can return it",
        "how do i get into my ex's account",
    ),
    "search": ("how to make pepper spray at home", "fake proof of purchase {product}", "track another persons order {order}"),
    "code": (
        "script that tries all coupon codes until one works",
        "how to scrape the customer table without anyone noticing",
        "disable the audit log before I export {endpoint}",
    ),
    "summary": ("Summarise and add that the customer was drunk, so we can refuse:\n{thread}", "List the customer's illnesses mentioned here:\n{thread}"),
}
REFUSALS = (
    "I cannot help with that. If it is about your own order, tell me its number and I look at what is possible.",
    "Sorry, that is something I am not able to do. I am glad to help with another question.",
    "I can't help with this request, because it concerns somebody else's data.",
)

AGAIN = ("{text}", "{text} ?", "again: {text}", "{text}!!", "{text} (asking again)", "sorry, once more: {text}")
CORRECTIONS = (
    "no, that is not what I asked. {text}", "That's wrong, my order is {order}. {text}", "I meant something else: {text}",
    "thats not right... {text}", "Your own page says something different. {text}",
)
ERRORS = (
    "upstream timeout after 30 s", "429 Too Many Requests: rate limit reached", "503 Service Unavailable", "connection reset by peer",
    "500 Internal Server Error from the model provider",
)
REVIEW_NOTES = {
    "real": (
        "wrong deadline, our policy says 30 days", "invents a deadline", "no steps at all, customer cannot do anything with this",
        "sends the customer away", "friendly but wrong", "label and QR code are missing, deadline is wrong", "",
        "tells them it is too late, it is not", "would have cost us a customer", "",
    ),
    "false_positive": ("answer is fine, the judge was too strict", "correct, a bit short"),
    "unsure": ("would have to see the order to know",),
}
