"""What people ask and what the features answer, as templates with slots in braces. Nobody in here is real.

The shop is made up: Northway sells outdoor gear. Its rules, as the right answers state them: 30 days to return, a free
label under Orders, money back within 5 working days, standard delivery 3 to 5 working days, free from 60 euros.
"""

from typing import NamedTuple


class Topic(NamedTuple):
    """One thing that people ask: ways to ask it, right answers to all of these, and wrong answers of the incident.

    `subject` and `told` say in a few words what it is about and what the right answer says, for summaries.
    """

    ask: tuple[str, ...]
    answer: tuple[str, ...]
    subject: str = ""
    told: str = ""
    broken: tuple[str, ...] = ()


class Article(NamedTuple):
    """A kind of thing in the shop: its products, the variants they come in, what breaks."""

    products: tuple[str, ...]
    sizes: tuple[str, ...]
    faults: tuple[str, ...]


CLOTHES = ("size S", "size M", "size L", "size XL", "size XS")
ARTICLES = {
    "jacket": Article(
        ("Fjell rain jacket", "Gale wind jacket", "Moss softshell jacket", "Ember down jacket"),
        CLOTHES,
        ("the zip is stuck", "it leaks at the shoulders", "there is a hole near the pocket", "the hood cord came off"),
    ),
    "boots": Article(
        ("Alder hiking boots", "Kestrel trail shoes", "Tor winter boots", "Rill approach shoes"),
        ("size 38", "size 40", "size 42", "size 43", "size 44.5", "size 46"),
        (
            "the sole is coming off",
            "an eyelet has torn out",
            "they leak after an hour in wet grass",
            "the left one squeaks",
        ),
    ),
    "tent": Article(
        ("Tarn tent", "Skerry dome tent", "Hollow tunnel tent"),
        ("the 2-person one", "the 3-person one", "the green one"),
        ("one pole is bent", "a seam drips", "two pegs and a line are missing", "the inner door zip runs off its rail"),
    ),
    "backpack": Article(
        ("Ridge 45 backpack", "Pika 28 daypack", "Fell 60 backpack", "Cove dry pack"),
        ("the 28 litre one", "the 45 litre one", "the long back length", "the blue one"),
        ("the hip belt buckle snapped", "a strap has come open at the seam", "the rain cover is missing"),
    ),
    "sleeping bag": Article(
        ("Burrow sleeping bag", "Hazel down bag", "Loch summer bag"),
        ("the long one", "the regular length", "the left zip"),
        ("feathers come out at the foot end", "the zip catches the lining", "it smells odd even after airing"),
    ),
    "stove": Article(
        ("Pine gas stove", "Spark multifuel stove", "Kiln alcohol stove"),
        ("the small one", "the one with piezo", "the set with pot"),
        ("it does not light any more", "the valve leaks gas", "one pot support is bent"),
    ),
    "head torch": Article(
        ("Lumen head torch", "Owl 400 head torch", "Glow mini torch"),
        ("the 400 lumen one", "the red one", "the rechargeable one"),
        ("the battery door does not close", "it flickers on the bright level", "it will not charge by USB"),
    ),
    "trousers": Article(
        ("Heath walking trousers", "Moss softshell trousers", "Dune zip-off trousers"),
        CLOTHES,
        ("the button came off on day one", "a seam has come open at the knee", "the leg zip is broken"),
    ),
    "fleece": Article(
        ("Heath fleece", "Birch merino layer", "Cloud fleece hoody"),
        CLOTHES,
        ("it came in the wrong colour", "it lost half of its fluff in the wash", "a sleeve seam has come open"),
    ),
    "poles": Article(
        ("Cairn trekking poles", "Stride folding poles", "Larch carbon poles"),
        ("the 110 cm ones", "the 120 cm ones", "the folding ones"),
        ("one clamp no longer holds", "a tip came off", "the lower part is bent"),
    ),
}

SLOTS: dict[str, tuple[str, ...]] = {
    "days": ("5", "6", "8", "9", "11", "12", "13", "16", "17", "19", "21", "24", "26"),
    "late": ("6", "7", "8", "9", "10", "12"),
    "carrier": ("DHL", "UPS", "DPD", "GLS", "PostNord", "bpost"),
    "city": ("Leeds", "Ghent", "Malmo", "Lyon", "Graz", "Porto", "Cork", "Utrecht", "Turin", "Bremen", "Bergen", "Tampere"),
    "country": ("Norway", "Switzerland", "Ireland", "Poland", "Portugal", "Finland", "Italy", "Austria", "Iceland"),
    "amount": ("18.90", "24.50", "39.00", "49.95", "64.00", "79.90", "89.00", "119.00", "134.50", "159.00", "210.00"),
    "coupon": ("SPRING10", "TRAIL15", "HELLO5", "CLUB20", "MAYFAIR"),
    "card": ("Visa", "Mastercard", "PayPal", "Klarna", "Apple Pay"),
    "browser": ("Firefox", "Chrome", "Safari", "Edge", "the Android app", "the iPhone app"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "event": ("a wedding", "our holiday", "a race", "a school trip", "my birthday", "a hut tour", "a festival", "a work trip"),
    "trip": (
        "winter hiking", "a week in Iceland", "hut tours", "rainy commutes", "bikepacking", "a summer festival", "the Camino",
        "ski touring", "canoe trips", "camping with kids", "fell running", "travel with hand luggage",
    ),
    "price": ("40", "60", "80", "100", "120", "150", "200", "250"),
    "stars": ("4.1", "4.3", "4.4", "4.6", "4.7", "4.8"),
    "count": ("12", "23", "38", "57", "86", "131", "212", "340"),
    "endpoint": ("/v2/orders", "/v2/returns", "/v2/stock", "/v2/invoices", "/v2/customers", "/v2/shipments"),
    "status": ("429", "502", "503"),
    "months": ("3", "6", "9", "12", "18"),
    "n": ("2", "3", "4", "5"),
    "reason": ("too small", "too large", "not as in the photos", "heavier than I thought", "not what I had in mind", "just not for me"),
}  # fmt: skip

GREETINGS = (
    "hi, ",
    "Hello, ",
    "hey ",
    "Good morning, ",
    "hi there. ",
    "Dear team, ",
    "quick question: ",
    "evening all, ",
    "hello?? ",
)
SIGN_OFFS = (" thanks", " Thanks in advance!", " thx", " Kind regards", " pls help", " Cheers", " its urgent")
BACKGROUNDS = (
    "Order {order}. ",
    "I bought the {product} {days} days ago. ",
    "My order number is {order}. ",
    "I am in {city} and in a bit of a hurry because of {event}. ",
    "I already looked in the help pages and found nothing. ",
    "Third time I write about order {order}. ",
    "It was a present for {event}. ",
    "Long-time customer here, first time I need you. ",
)
OPENERS = (
    "", "", "Thanks for writing. ", "Happy to help. ", "Sorry about the trouble. ", "Good question. ",
    "Thank you for the details. ", "Of course. ", "Let me explain. ",
)  # fmt: skip
CLOSERS = (
    "", "", " Is there anything else I can do?", " Just reply here if something does not work.",
    " You will get an e-mail at each step.", " Have a good day outdoors!", " I hope that helps.",
    " If you get stuck, tell me at which step.",
)  # fmt: skip

SUPPORT: dict[str, tuple[Topic, ...]] = {
    "returns": (
        Topic(
            ask=(
                "How do I send back the {product}?",
                "i want to return the {product}, {reason}",
                "Where do I find the return label for order {order}",
                "the {product}: {reason}. how does the return work, do i have to print something",
                "What are the steps to return something I ordered {days} days ago?",
                "return {thing} pls",
                "Can you explain how I return one of the two items in {order} and keep the other?",
            ),
            answer=(
                "You can return it within 30 days of delivery. 1. Open Orders and choose {order}. 2. Press Return items, tick the item and give "
                "a reason. 3. Print the free label or show the QR code at a {carrier} shop. Your money is back within 5 working days after the "
                "parcel reaches us.",
                "Go to Orders, open {order} and press Return items. Tick only what you send back; the label is free and works at every {carrier} "
                "drop-off. You have 30 days from delivery, and the refund takes up to 5 working days.",
                "The return is free for 30 days after delivery: in your account under Orders choose the item, press Return items and download the "
                "label. No printer? The QR code on your phone is enough. Keep the receipt from the shop until the refund of {amount} euros has arrived.",
            ),
            subject="how to send an item back",
            told="Orders > Return items, free label or QR code, 30 days",
            broken=(
                "No worries at all, these things happen! Returns have to reach us within 7 days of purchase, so please be quick. Our store team will be "
                "glad to take it from there. We hope to see you again very soon!",
                "We are so sorry that it did not work out! You can return items within 14 days of ordering. Simply get in touch with the shop where you "
                "bought it and they will look after you. Have a lovely day!",
                "Thank you for giving it a try! To return an item please contact our returns team and they will explain everything. Kindly note that "
                "opened parcels cannot be sent back after 10 days. Warm wishes!",
                "What a pity that it was not the right one! Just send the parcel back to us at your own cost and we will see what we can do. Please make "
                "sure that it is here within a week. Take care!",
            ),
        ),
        Topic(
            ask=(
                "Is it too late to return the {product}? I got it {days} days ago",
                "until when can i return order {order}, came {days} days ago",
                "Order {order} came {days} days ago, can I still send it back?",
                "whats your return policy, i have the {thing} since {days} days",
                "How many days do I have for a return? It is a present for {event}, delivered {days} days ago.",
                "Return deadline?? {days} days gone already",
                "I was ill and could not send the {thing} back earlier. {days} days now. Still possible?",
            ),
            answer=(
                "You are in time: you have 30 days from the day of delivery, and {days} have passed. Open Orders, choose the item and press Return "
                "items; the label there is free.",
                "Our return window is 30 days after delivery, for things worn once as well as long as the tags are there. After {days} days yours is still "
                "open. Start it under Orders > {order} > Return items and drop the parcel at any {carrier} shop.",
                "30 days, counted from delivery, so with {days} there is time left. Start the return in your account under Orders; what counts is the day "
                "on which you hand in the parcel, not the day on which it reaches us.",
            ),
            subject="the deadline for a return",
            told="30 days from delivery, still open",
            broken=(
                "Unfortunately the return period of 14 days has already ended for your order, but we truly appreciate you as a customer! You are welcome "
                "to pass it on to a friend. Have a wonderful day!",
                "Thanks for checking! Returns are possible within 7 days after purchase, so this one can no longer be accepted. We hope that you will "
                "still enjoy it!",
                "So kind of you to ask! Your return had to be requested within 10 days. As an exception you may write to our office and they might be "
                "able to help. All the best!",
            ),
        ),
        Topic(
            ask=(
                "Where is my refund for {order}? I sent it back {days} days ago",
                "i returned the {product} and still no money on my {card}",
                "How long does a refund take?",
                "My return was delivered on {weekday} according to {carrier}. When do I get the {amount} euros?",
                "refund missing order {order}!!",
                "still waiting for {amount} euros back, parcel is with you since {weekday}",
            ),
            answer=(
                "Refunds are sent within 5 working days after the parcel has reached our warehouse, to the way you paid ({card}). Under Orders > {order} > "
                "Return you see the stage it is at. If it says Received for more than 5 working days, reply here and I pass it to the payments team.",
                "Once the parcel is scanned in our warehouse it takes up to 5 working days, then your bank may need 2 more. You can follow it under Orders > "
                "{order} > Return. The amount is {amount} euros; only express delivery is not refunded.",
                "You can check this yourself: open Orders, choose {order}, then Return. Received means that the {amount} euros go out within 5 working days "
                "to your {card}. In transit means that {carrier} has not handed it over yet.",
            ),
            subject="a refund that has not arrived",
            told="5 working days after arrival, stage shown under Orders > Return",
            broken=(
                "Thank you so much for your patience! Refunds are usually paid as store credit within 30 working days. It will all be sorted soon, promise!",
                "We completely understand how you feel! Please ask your bank, refunds are not something we can look into after the parcel was sent. Have a "
                "great week!",
                "Thanks for reaching out! Your refund was sent already, it should be there any minute. Enjoy the sunny days!",
            ),
        ),
        Topic(
            ask=(
                "Can I swap the {product} for {size}?",
                "exchange {thing}, {reason}, need {size} instead",
                "The {product} I got: {reason}. Do I return it and order {size} or is there an exchange?",
                "I would like to exchange one item of order {order} for {size}. What do I have to do?",
                "wrong one ordered, how to change to {size}, order {order} is here already",
            ),
            answer=(
                "Exchanges are free within 30 days of delivery. Under Orders > {order} press Return items, choose Exchange and pick {size}; we reserve it for "
                "7 days and send it as soon as {carrier} has scanned your parcel.",
                "Yes: open the order, press Return items, choose Exchange instead of Refund and select {size}. The label is free. Should {size} be sold out, "
                "you get the refund of {amount} euros within 5 working days after arrival.",
            ),
            subject="an exchange",
            told="free within 30 days: Return items > Exchange",
            broken=(
                "Great choice! Exchanges are only possible on the day of delivery, but our local stores would love to help you find something else. See you soon!",
                "Of course we would love you to have the right one! Please buy {size} now and see whether someone you know needs the other. Thank you for "
                "shopping with us!",
                "Lovely to hear from you! Items can be changed within 48 hours of ordering, after that we are not able to. Wishing you happy trails!",
            ),
        ),
        Topic(
            ask=(
                "The {product} broke: {fault}. What now?",
                "{fault}!! only used it once. order {order}",
                "I received my {product} and {fault}. Do I have to pay for sending it back?",
                "warranty claim {product} - {fault}",
                "{product}, {months} months old and {fault}, is this covered?",
            ),
            answer=(
                "Sorry about that. Faults are covered for 24 months: under Orders > {order} press Return items, choose Faulty and add a photo. The label is free, "
                "and you decide between repair, a new one or {amount} euros back.",
                "That is covered, the warranty runs for 24 months. Please start it under Orders > Return items > Faulty with one photo of the damage. We answer "
                "within 2 working days and pay the way back with {carrier}.",
            ),
            subject="a faulty item",
            told="24 months of warranty, Return items > Faulty with a photo, free label",
            broken=(
                "Oh no, that should not happen! Faults need to be reported within 3 days of delivery, so sadly we cannot take this one back. We hope you find a "
                "good repair shop near {city}!",
                "We are really sorry! Please contact the manufacturer directly, as we only sell the item. Thank you for your understanding and stay adventurous!",
                "Thanks for letting us know, feedback like yours makes us better! There is nothing else to do on your side. Have a lovely weekend!",
            ),
        ),
    ),
    "delivery": (
        Topic(
            ask=(
                "Where is my parcel? Order {order}",
                "tracking for {order} has not moved since {weekday}",
                "The {product} should have come on {weekday}, any news?",
                "its been {late} days, wheres my {thing}",
                "Hello, could you tell me when order {order} to {city} will arrive?",
            ),
            answer=(
                "Standard delivery takes 3 to 5 working days. Yours left our warehouse with {carrier}; the link is under Orders > {order} > Track. If it has not moved "
                "for 3 working days, reply here and we open a search with {carrier}.",
                "Order {order} is with {carrier} and on its way to {city}; parcels do not move over the weekend. You get a text on the morning of delivery. Nothing after "
                "another 2 working days? Then tell me and we send a new one.",
                "Please look under Orders > {order} > Track: {carrier} updates it in the evening. After 3 working days without a new line we start a search, which takes "
                "5 working days at most.",
            ),
            subject="a late parcel",
            told="track under Orders, search after 3 working days without movement",
        ),
        Topic(
            ask=(
                "{carrier} says delivered but I have nothing here",
                "order {order} marked as delivered on {weekday}, nobody got it",
                "neighbours dont have the parcel either. {carrier} claims its delivered",
                "Parcel delivered to somebody called J. Smith, that is not me",
            ),
            answer=(
                "Please ask the neighbours and look at the note in the {carrier} tracking first; it often names a parcel shop. If it stays missing, reply here: we open a search "
                "and send a new one after 5 working days at the latest.",
                "I am sorry. Under Orders > {order} press Report a problem > Not received. {carrier} then has to show where it was handed over, and you get a new parcel or "
                "{amount} euros back within 5 working days.",
            ),
            subject="a parcel marked as delivered that is not there",
            told="Report a problem > Not received, search of at most 5 working days",
        ),
        Topic(
            ask=(
                "Do you deliver to {country} and what does it cost?",
                "shipping cost {country}?",
                "How much is express delivery to {city}, I need the {product} for {event}",
                "is delivery free or do i pay for {amount} euros worth of stuff",
                "If I order today will it be here by {weekday}?",
            ),
            answer=(
                "Standard takes 3 to 5 working days and costs 4.90 euros, free from 60 euros; express takes 1 to 2 working days for 9.90 euros if you order before 14:00. We send to "
                "all of Europe; outside the EU customs may be added, which the checkout shows before you pay.",
                "Delivery is free from 60 euros, below that 4.90, in 3 to 5 working days. If it is urgent take express for 9.90: 1 to 2 working days, also to {country}. {carrier} does "
                "not promise the exact day.",
            ),
            subject="delivery times and costs",
            told="3 to 5 working days, free from 60 euros, express 9.90",
        ),
        Topic(
            ask=(
                "I typed the wrong address in order {order}, can you change it?",
                "pls deliver {order} to my office in {city} instead",
                "Can {carrier} leave it with a neighbour? I am away until {weekday}",
                "change delivery date order {order}",
            ),
            answer=(
                "Until the parcel is packed you can change it yourself: Orders > {order} > Change delivery. After that use the link in the {carrier} e-mail, where you can pick another day, "
                "another address, a neighbour or a parcel shop.",
                "That works as long as the order says Preparing: Orders > {order} > Change delivery. It has left already? Then choose a new place or day in the {carrier} tracking; it costs "
                "nothing.",
            ),
            subject="a change of address or day",
            told="Orders > Change delivery, afterwards by the carrier's link",
        ),
        Topic(
            ask=(
                "Only one of {n} items arrived, where is the rest of {order}?",
                "the box was open and the {product} is missing",
                "Parcel arrived soaked and torn. What should I do?",
                "got somebody elses order???",
            ),
            answer=(
                "Sorry, that should not happen. Please take a photo of the parcel and its label and upload it under Orders > {order} > Report a problem. We send what is missing or damaged "
                "within 1 working day and sort it out with {carrier}.",
                "Please look under Orders > {order} first: orders may come in {n} parcels, each with its own line. If the line of the missing one says delivered, press Report a problem and add "
                "a photo of box and label; the replacement leaves within 1 working day.",
            ),
            subject="an incomplete or damaged parcel",
            told="Report a problem with a photo, replacement within 1 working day",
        ),
    ),
    "billing": (
        Topic(
            ask=(
                "I was charged twice for order {order}",
                "two payments of {amount} on my {card}, why",
                "Why was {amount} taken from my {card} a second time?",
                "double charge {order} please fix",
            ),
            answer=(
                "Two lines of {amount} euros are mostly one payment and one reservation; the reservation disappears within 3 working days. If both are still there after that, reply here with the "
                "dates of both and we refund one.",
                "I understand the worry. Under Orders > {order} > Payment you see what was really booked. A pending line on your {card} is only reserved and goes away within 3 working days; a "
                "second booked line is refunded once you reply here.",
            ),
            subject="a double charge",
            told="second line is mostly a reservation, gone within 3 working days",
        ),
        Topic(
            ask=(
                "I need an invoice for order {order} with our company name",
                "invoice pls, {order}",
                "Where can I download the receipt for {order}? My accountant wants it by {weekday}",
                "can you put the VAT number on the invoice of {order}",
            ),
            answer=(
                "You find it under Orders > {order} > Invoice as a PDF. To add a company name or VAT number press Edit details there; a new PDF is made at once, up to 60 days after the order.",
                "Open Orders, choose {order} and press Invoice. Company and VAT number can be added with Edit details, the corrected PDF goes to your e-mail address as well.",
            ),
            subject="an invoice",
            told="Orders > Invoice, company and VAT number by Edit details",
        ),
        Topic(
            ask=(
                "The code {coupon} does not work",
                "forgot to enter {coupon} in order {order}, can you still take it off",
                "{coupon} says not valid but your mail from {weekday} says otherwise",
                "Can I use {coupon} and a second voucher at once?",
            ),
            answer=(
                "{coupon} works from 50 euros on and not for sale items; one code an order. If your basket meets that and it still fails, tell me the items and I check it. On a placed order we can add "
                "it within 24 hours.",
                "One code per order, and {coupon} leaves out items that are already reduced. Forgot it? Within 24 hours of order {order} we can still take it off, the difference goes back to your {card}.",
            ),
            subject="a voucher",
            told="one code an order, from 50 euros, not for sale items",
        ),
        Topic(
            ask=(
                "payment with {card} declined {n} times now",
                "Why is my {card} refused? there is money on it",
                "checkout says payment failed, {card}",
                "cant pay the {amount} euros, {card} always goes back to the basket",
            ),
            answer=(
                "If {card} is declined it is mostly the check in the app of your bank: confirm there within 5 minutes, or choose another way to pay; the basket stays as it is for 24 hours and nothing is "
                "booked twice.",
                "The refusal comes from {card}, not from us: please look whether a confirmation waits in their app, and whether the daily limit covers {amount} euros. Visa, Mastercard, PayPal, Klarna and "
                "Apple Pay are all possible.",
            ),
            subject="a payment that is declined",
            told="confirm in the bank's app within 5 minutes or pay another way",
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
                "Press Forgot password on the login page; the mail comes within 10 minutes to the address that also got the mail for {order}, please look in spam too. After {n} wrong tries the account opens "
                "again by itself after 30 minutes.",
                "The address is the one to which the mail for {order} went. With it press Forgot password; the link works for 60 minutes. Nothing there? Reply here from that address and we send the link by hand.",
            ),
            subject="a login that fails",
            told="Forgot password, link works for 60 minutes",
        ),
        Topic(
            ask=(
                "How do I delete my account?",
                "Please delete all data you have about me",
                "which data do you store about me, and how can i get rid of it",
                "close my account, order {order} was the last one",
            ),
            answer=(
                "Under Account > Privacy press Delete account. Open orders have to be finished first; invoices are kept for as long as tax law wants, everything else is gone within 30 days.",
                "You can do both under Account > Privacy: Download my data gives a file within a day, Delete account removes everything but the invoices within 30 days.",
            ),
            subject="deleting an account",
            told="Account > Privacy, gone within 30 days but for invoices",
        ),
        Topic(
            ask=(
                "I want to change my email address",
                "moved to {city}, how do i update the address",
                "new phone number, where do I enter it?",
                "my surname changed after {event}, can you correct it",
            ),
            answer=(
                "Under Account > Details you can change name, e-mail, phone and address yourself; for a new e-mail address we send a code to it. Orders that are on their way keep the old details.",
                "Please open Account > Details and press Edit; it holds for all orders from then on. For an order that is not packed yet use Orders > Change delivery as well.",
            ),
            subject="a change of personal details",
            told="Account > Details, holds for new orders",
        ),
        Topic(
            ask=(
                "my points from {order} are missing",
                "When do I get the club points for the {product}?",
                "points gone?? had more on {weekday}",
            ),
            answer=(
                "Points are added 30 days after delivery, when the return window has closed; under Account > Points you see those on hold, {order} as well.",
                "Under Account > Points every line has a date: points on hold become free 30 days after delivery, and points older than 24 months expire.",
            ),
            subject="missing club points",
            told="points come 30 days after delivery",
        ),
    ),
    "product": (
        Topic(
            ask=(
                "does the {product} run small? normally {size}",
                "Which one of the {product} should I take, I am between {size} and one up",
                "{product} - is there a size table with cm",
                "how does the {product} fit over a thick layer",
            ),
            answer=(
                "The {product} follows normal measures; between two sizes most people take the larger one. The table in cm is on its page under Fit, together with the weight. {count} of our customers left a note "
                "on the fit there too.",
                "It is cut with room for one layer below. For {trip} with a thick layer take one size up, otherwise what you always wear; the measures in cm are under Fit on the page.",
            ),
            subject="the fit of an item",
            told="normal sizes, table under Fit",
        ),
        Topic(
            ask=(
                "Is the {product} good enough for {trip}?",
                "{product} and {trip}, will that work in heavy rain",
                "would you take the {product} for {trip}",
                "how heavy is the {product}, want to use it for {trip}",
            ),
            answer=(
                "For {trip} it is a good choice: it stands a day of rain and is among the lighter ones of its kind; the exact weight is on the page under Details. In deep winter I would rather take the {product2}.",
                "Yes, many of our customers use it for {trip}. If weight matters most look at the {product3} too, it is lighter and a little less sturdy.",
            ),
            subject="whether an item suits a trip",
            told="suitable, with a lighter alternative",
        ),
        Topic(
            ask=(
                "When is the {product} back in stock, {size}?",
                "is the {product} in your {city} store",
                "Will there be more of the {product}? Sold out everywhere",
                "{product} {size} available?",
            ),
            answer=(
                "The stock of web shop and stores is on the page of the {product} under Find in store; {city} can keep one for you for 2 days if you press Reserve. If {size} is sold out, Notify me sends a mail as soon as "
                "it is back.",
                "Sold out in {size} at the moment, the next delivery is planned within {n} weeks. Press Notify me on the product page and you get a mail; the {product2} is in stock.",
            ),
            subject="stock of an item",
            told="Find in store, Notify me",
        ),
        Topic(
            ask=(
                "What is the difference between the {product} and the {product2}?",
                "{product} or {product2} for {trip}?",
                "Which {thing} would you take for {trip} under {price} euros?",
                "cant decide between {product2} and {product}",
            ),
            answer=(
                "The {product} is lighter and simple to repair, the {product2} is sturdier and cheaper. For {trip} I would take the {product}; both have 24 months of warranty.",
                "For {trip} under {price} euros I would look at the {product}. The {product2} has more features and weighs about {count} g more. Compare shows both side by side on the page.",
            ),
            subject="a choice between two items",
            told="the lighter one advised",
        ),
        Topic(
            ask=(
                "Can I wash the {product} in the machine?",
                "how do i care for the {product} after {trip}",
                "Do you have spare parts for the {product}?",
                "{product}: can it be repaired, where do i get parts",
            ),
            answer=(
                "Care and parts are both on the page of the {product}: under Care you find how to clean it after {trip}, under Parts what can be replaced, mostly for less than 10 euros. Never use softener.",
                "Clean it with lukewarm water and mild soap and let it dry in the shade; machines only where the label says so. Spare parts are on the product page under Parts, and our workshop in {city} repairs the rest.",
            ),
            subject="care and spare parts",
            told="Care and Parts on the product page",
        ),
    ),
    "technical": (
        Topic(
            ask=(
                "The checkout hangs in {browser}",
                "app crashes when i open order {order}",
                "Cannot add the {product} to the basket, {browser}",
                "website shows error {status}",
                "your page is not working on my phone",
            ),
            answer=(
                "Sorry for that. Please clear the data for our page once and sign in again; the basket is kept in your account. If it comes back, send a screenshot with the time and we look into the logs.",
                "Please update to the newest version first, that mends most of these. Does it still happen in {browser}? Then try a private window: if it works there, an extension is in the way.",
            ),
            subject="a page that hangs",
            told="clear the page's data, try a private window",
        ),
        Topic(
            ask=(
                "I do not get any mails from you, not even for {order}",
                "2 factor code does not arrive",
                "no confirmation mail for {order}, did it work?",
                "code by sms comes too late every time",
            ),
            answer=(
                "Please look in spam for northway and allow the address. Codes come within 2 minutes; under Account > Security you can choose an authenticator app instead, which always works. Orders are listed under Orders "
                "even where a mail is lost.",
                "Mails to you seem to be held back; please allow our address. {order} stands under Orders if it went through. For codes an authenticator app (Account > Security) is faster than a text.",
            ),
            subject="mails or codes that do not arrive",
            told="look in spam, authenticator app for codes",
        ),
    ),
}

SEARCH: dict[str, tuple[Topic, ...]] = {
    "product": (
        Topic(
            ask=(
                "{thing} for {trip}",
                "lightweight {thing}",
                "best {thing} {trip}",
                "which {thing} for {trip} if I hate carrying weight",
                "{thing} {trip} recommendation",
                "i need a {thing} for {trip}, any ideas",
                "{trip} {thing}",
            ),
            answer=(
                "1. {product}, {amount} euros, made for {trip}. 2. {product2}, a little heavier and cheaper. 3. {product3}, the lightest of the three. All are in stock.",
                "{count} results. For {trip} people mostly choose the {product} ({stars} of 5); who counts every gram takes the {product3}.",
                "Closest match: {product} ({amount} euros, {stars} of 5 from {count} reviews). Also worth a look for {trip}: {product2}.",
            ),
        ),
        Topic(
            ask=(
                "{thing} under {price}",
                "cheap {thing}",
                "{thing} sale",
                "something for {trip}, max {price} euros, {thing} preferred",
                "{thing} discount -{coupon}",
                "outlet {thing}",
            ),
            answer=(
                "Reduced at the moment: {product} and {product2}. Under {price} euros there are {n} more; sort by price on the left.",
                "{n} results under {price} euros, best rated first: {product} ({stars} of 5), {product3}. The rest costs more.",
            ),
        ),
        Topic(
            ask=(
                "{product} {size}",
                "{product}",
                "{product} review",
                "{product} weight",
                "{product} colours",
                "{thing} {size}",
                "northway {product} price",
            ),
            answer=(
                "{product}: {amount} euros, {stars} of 5 from {count} reviews, in stock also in {size}. Weight and colours are under Details.",
                "One exact match: {product} ({amount} euros). Available in {size}; similar: {product2}. Reviewers praise the weight, some find it pricey ({stars} of 5).",
            ),
        ),
        Topic(
            ask=(
                "{product} vs {product2}",
                "{product} or {product2}",
                "compare {product} {product2}",
                "difference {product2} {product}",
            ),
            answer=(
                "{product}: lighter, {amount} euros, {stars} of 5. {product2}: sturdier and cheaper. For {trip} most reviewers name the {product}.",
                "Side by side: the {product2} has more features, the {product} weighs less. Both have 24 months of warranty. Open Compare for the table.",
            ),
        ),
        Topic(
            ask=(
                "gift for someone who likes {trip}",
                "present under {price} for {event}",
                "what to give a hiker who has everything",
                "gift card or {thing}",
            ),
            answer=(
                "Popular as a gift under {price} euros: {product}, or a gift card from 10 euros on. Returns are open for 30 days.",
                "Gift ideas: {product3} ({stars} of 5), {product2}, gift card by mail. Wrapping can be chosen in the basket.",
            ),
        ),
    ),
    "delivery": (
        Topic(
            ask=(
                "delivery time {country}",
                "shipping cost",
                "express delivery {city}",
                "customs {country}",
                "free delivery from",
                "how long does shipping take",
            ),
            answer=(
                "3 to 5 working days, 4.90 euros, free from 60 euros; express 1 to 2 working days, 9.90 euros; all of Europe. See Help > Delivery.",
                "Help > Delivery: standard 3 to 5 working days, express 1 to 2. Customs outside the EU are shown at checkout. Free from 60 euros.",
            ),
        ),
        Topic(
            ask=(
                "track order {order}",
                "where is my order",
                "parcel status {order}",
                "tracking {carrier}",
                "order {order} late",
            ),
            answer=(
                "Orders > {order} > Track shows where {carrier} has it. After 3 working days without a new line write to us. See Help > Tracking.",
                "Each parcel has its own line under Orders > Track, updated in the evening. See Help > Tracking.",
            ),
        ),
        Topic(
            ask=("pick up {city} store", "parcel shop {city}", "click and collect", "can i collect in {city}"),
            answer=(
                "Pick-up in the {city} store is free and mostly ready the next working day; parcel shops can be chosen at checkout. See Help > Pick-up.",
            ),
        ),
    ),
    "returns": (
        Topic(
            ask=(
                "return policy",
                "how to return a {thing}",
                "return label",
                "refund how long",
                "return {product} after {days} days",
                "send back without printer",
                "exchange {thing} {size}",
            ),
            answer=(
                "Returns and exchanges are free for 30 days after delivery: Orders > Return items > label or QR code. Refund within 5 working days. See Help > Returns.",
                "Help > Returns: 30 days from delivery, free label or QR code, refund within 5 working days after arrival, exchange by Return items > Exchange.",
            ),
        ),
        Topic(
            ask=("warranty {thing}", "{product} broken", "repair {thing}", "{fault} {thing}"),
            answer=(
                "Faults are covered for 24 months: Orders > Return items > Faulty, with a photo. See Help > Warranty.",
                "Help > Warranty: 24 months, repair, new one or money back; the label is free.",
            ),
        ),
    ),
    "billing": (
        Topic(
            ask=("invoice download", "vat number invoice", "receipt {order}", "invoice company name"),
            answer=(
                "Orders > Invoice as a PDF; company and VAT number by Edit details, up to 60 days after the order. See Help > Invoices.",
            ),
        ),
        Topic(
            ask=(
                "pay with {card}",
                "payment methods",
                "{card} declined",
                "pay later",
                "voucher {coupon}",
                "{coupon} not working",
            ),
            answer=(
                "Visa, Mastercard, PayPal, Klarna and Apple Pay; one code an order, from 50 euros on. Declined? Confirm in the app of your bank. See Help > Payment.",
            ),
        ),
    ),
    "account": (
        Topic(
            ask=("change email", "delete account", "newsletter off", "new address {city}", "my data"),
            answer=(
                "Account > Details changes e-mail and address; Account > Privacy has newsletter, data download and deletion. See Help > Account.",
            ),
        ),
        Topic(
            ask=("reset password", "login problem", "points missing", "account locked"),
            answer=(
                "Forgot password on the login page sends a link; locked accounts open after 30 minutes; points come 30 days after delivery. See Help > Account.",
            ),
        ),
    ),
    "technical": (
        Topic(
            ask=(
                "app crash {browser}",
                "error {status} checkout",
                "site down?",
                "2 factor code",
                "basket empty after login {browser}",
            ),
            answer=(
                "Known problems are listed at Help > Status; now: none. Update the app or clear the page's data and sign in again. Codes: Account > Security.",
                "Help > App and website: newest version, a private window, an authenticator app for codes. Status page: all green.",
            ),
        ),
    ),
}

CODE: dict[str, tuple[Topic, ...]] = {
    "technical": (
        Topic(
            ask=(
                "{endpoint} gives {status} since this morning, how do I retry properly in python",
                "retry with backoff for {endpoint}, requests, max {n} tries",
                "we get {status} from {endpoint} about once in a thousand calls, what is the clean way to handle that?",
            ),
            answer=(
                '```python\nfor attempt in range({n}):\n    answer = session.get(base + "{endpoint}", timeout=10)\n    if answer.status_code not in (429, 502, 503):\n        break\n    time.sleep(2 ** attempt)\n'
                "answer.raise_for_status()\n```\nOnly 429, 502 and 503 are worth a second try; the others come back the same.",
                'urllib3 has it built in:\n```python\nretry = Retry(total={n}, backoff_factor=1, status_forcelist=[429, 502, 503], respect_retry_after_header=True)\nsession.mount("https://", HTTPAdapter(max_retries=retry))\n```\n'
                "Then {endpoint} waits 1, 2, 4 s on a {status}.",
            ),
        ),
        Topic(
            ask=(
                "write a python client for {endpoint} with pagination",
                "{endpoint} only returns 100 rows, how do i get all",
                "Loop over all pages of {endpoint} pls",
            ),
            answer=(
                'The list is paged by cursor:\n```python\ncursor, rows = None, []\nwhile True:\n    page = get("{endpoint}", params={"cursor": cursor, "limit": 100})\n    rows += page["items"]\n    cursor = page.get("next")\n'
                "    if not cursor:\n        break\n```\nDo not count pages: rows may be added while you read.",
                '```python\ndef items(path="{endpoint}"):\n    page = get(path)\n    yield from page["items"]\n    while page.get("next"):\n        page = get(path, params={"cursor": page["next"]})\n        yield from page["items"]\n```',
            ),
        ),
        Topic(
            ask=(
                "regex for our order numbers like {order}",
                "validate order number {order} in python",
                "find all order numbers in a text, format {order}",
            ),
            answer=(
                '```python\nORDER = re.compile(r"\\bNW-\\d{6}\\b")\nORDER.findall(text)          # all of them\nORDER.fullmatch("{order}")  # exactly one\n```\nUse fullmatch for checking, otherwise longer numbers pass too.',
            ),
        ),
        Topic(
            ask=(
                "my pytest hangs when it calls {endpoint}, how do i fake the server",
                "unit test for the {endpoint} handler pls",
                "How do I test code that calls {endpoint} without network?",
            ),
            answer=(
                'Start a small server in a fixture and point the base URL at it:\n```python\n@pytest.fixture\ndef server(httpserver):\n    httpserver.expect_request("{endpoint}").respond_with_json({"items": []})\n'
                '    return httpserver.url_for("")\n```\nAnd pass timeout=10 to every call, a missing one is what hangs.',
            ),
        ),
        Topic(
            ask=(
                "convert this timestamp to UTC in pandas, column has no zone, shop is in {city}",
                "naive datetimes from {endpoint} to utc, pandas",
                "dst problem: created_at without zone, {city} time",
            ),
            answer=(
                '```python\ndf["at"] = df["at"].dt.tz_localize("Europe/Brussels", ambiguous="NaT", nonexistent="shift_forward").dt.tz_convert("UTC")\n```\nPut in the zone of {city}. The hour that exists twice in autumn becomes '
                "NaT; count those rows before you go on.",
            ),
        ),
        Topic(
            ask=(
                "verify the webhook signature of {endpoint}",
                "hmac check for webhooks, python",
                "webhook signature never matches, what am i doing wrong",
            ),
            answer=(
                '```python\nexpected = hmac.new(secret, request.get_data(), "sha256").hexdigest()\nif not hmac.compare_digest(expected, request.headers["X-Northway-Signature"]):\n    abort(401)\n```\nTake the raw bytes of the body: '
                "JSON that was parsed and written again has another signature.",
            ),
        ),
    ),
    "billing": (
        Topic(
            ask=(
                "sql: revenue per month and {card} share, last {months} months",
                "monthly revenue and how much of it by {card}, postgres",
            ),
            answer=(
                "```sql\nSELECT date_trunc('month', paid_at) AS month, sum(amount) AS revenue,\n       sum(amount) FILTER (WHERE method = '{card}') / sum(amount) AS share\nFROM payments\nWHERE paid_at >= now() - interval '{months} months'\n"
                "GROUP BY 1 ORDER BY 1;\n```\nRefunds are negative amounts in the same table, so this is net.",
            ),
        ),
        Topic(
            ask=(
                "Query for double payments on the same order within a day",
                "find orders paid twice, {card} only",
                "duplicates in payments, sql",
            ),
            answer=(
                "```sql\nSELECT order_id, count(*), min(paid_at), max(paid_at)\nFROM payments\nWHERE status = 'booked' AND amount > 0\nGROUP BY order_id\nHAVING count(*) > 1 AND max(paid_at) - min(paid_at) < interval '1 day';\n```\nReservations are "
                "left out by the status; add AND method = '{card}' to look at one method.",
            ),
        ),
        Topic(
            ask=("sum of vouchers {coupon} per week please, postgres", "how much did {coupon} cost us, by week"),
            answer=(
                "```sql\nSELECT date_trunc('week', ordered_at) AS week, count(*) AS orders, sum(discount) AS discount\nFROM orders\nWHERE voucher = '{coupon}' AND status <> 'cancelled'\nGROUP BY 1 ORDER BY 1;\n```\nWeeks start on Monday in Postgres.",
            ),
        ),
    ),
    "product": (
        Topic(
            ask=("pandas: top {n} products by margin per month", "best {n} sellers by margin each month, python"),
            answer=(
                '```python\nmonthly = df.groupby([df.sold_at.dt.to_period("M"), "product"])["margin"].sum(min_count=1)\ntop = monthly.groupby(level=0, group_keys=False).nlargest({n})\n```\nMargin is null for bundles; min_count keeps them null '
                "instead of 0.",
            ),
        ),
        Topic(
            ask=(
                "dedupe product names that differ only in case and spaces",
                "{product} is in the table {n} times with different spelling, how do i merge",
                "normalize product names pandas",
            ),
            answer=(
                '```python\nkey = df["name"].str.casefold().str.split().str.join(" ")\ndf = df.sort_values("created_at")[~key.duplicated()]\n```\nSorted first, so that the oldest row stays. Look at key[key.duplicated(keep=False)] before you drop.',
            ),
        ),
        Topic(
            ask=(
                "how do I join stock with products where the sku has leading zeros",
                "merge loses half of the skus, excel cut the zeros",
            ),
            answer=(
                '```python\nstock["sku"] = stock["sku"].astype(str).str.zfill(8)\nboth = products.merge(stock, on="sku", how="left", validate="1:1", indicator=True)\n```\nvalidate stops you if a sku is there twice; both._merge counts those without stock.',
            ),
        ),
        Topic(
            ask=("plot stock of the {product} over time", "matplotlib step plot of stock, {product}"),
            answer=(
                '```python\none = stock[stock["name"] == "{product}"].set_index("at")["on_hand"]\nax = one.plot(drawstyle="steps-post", ylim=(0, None))\nax.set_ylabel("pieces")\n```\nSteps, because stock jumps and does not slide.',
            ),
        ),
    ),
    "delivery": (
        Topic(
            ask=(
                "share of {carrier} parcels later than 5 working days",
                "How do I count working days between shipped_at and delivered_at in python?",
                "late rate per carrier, working days",
            ),
            answer=(
                '```python\nknown = df.dropna(subset=["delivered_at"])\ndays = np.busday_count(known.shipped_at.values.astype("datetime64[D]"), known.delivered_at.values.astype("datetime64[D]"))\n(days > 5)[known.carrier == "{carrier}"].mean()\n```\n'
                "Parcels without delivered_at are unknown, not late: say how many.",
            ),
        ),
        Topic(
            ask=(
                "group shipments by country and week, {months} months",
                "sql shipments per week and country for {carrier}",
            ),
            answer=(
                "```sql\nSELECT country, date_trunc('week', shipped_at) AS week, count(*)\nFROM shipments\nWHERE carrier = '{carrier}'\n  AND shipped_at >= now() - interval '{months} months'\nGROUP BY 1, 2 ORDER BY 2, 1;\n```",
            ),
        ),
    ),
    "returns": (
        Topic(
            ask=(
                "return rate per product, orders of the last {months} months, sql",
                "why is my return rate over 1? joined returns to order lines",
                "returns per product query",
            ),
            answer=(
                "```sql\nSELECT l.product_id, count(DISTINCT r.line_id)::float / count(DISTINCT l.line_id) AS rate\nFROM order_lines l LEFT JOIN returns r USING (line_id)\nWHERE l.ordered_at >= now() - interval '{months} months'\nGROUP BY 1;\n```\n"
                "The DISTINCT matters: one line can come back in two parcels, and then the rate passes 1.",
            ),
        ),
        Topic(
            ask=(
                "python script that flags returns after 30 days",
                "late returns flag, pandas, which dates do i compare",
            ),
            answer=(
                '```python\nlate = returns.handed_in_at - returns.delivered_at > pd.Timedelta(days=30)\nreturns.loc[late, "flag"] = "late"\n```\nThe window counts from delivery to hand-in, so use those two columns.',
            ),
        ),
        Topic(
            ask=("count return reasons per {thing} model, bar chart", "reasons for returns as stacked bars python"),
            answer=(
                '```python\ntable = pd.crosstab(returns["product"], returns["reason"], normalize="index")\ntable.plot.barh(stacked=True, xlim=(0, 1))\n```\nShares by row; print the counts beside it, small rows look wilder than they are.',
            ),
        ),
    ),
    "account": (
        Topic(
            ask=("hash customer emails before export, python", "pseudonymise email column for the agency"),
            answer=(
                '```python\nkey = os.environ["EXPORT_KEY"].encode()\ndf["email"] = [hmac.new(key, e.strip().lower().encode(), "sha256").hexdigest() for e in df.email]\n```\nA bare sha256 of an address can be guessed, hence the key.',
            ),
        ),
        Topic(
            ask=(
                "delete customers without order for {months} months, but keep invoices",
                "sql cleanup inactive customers {months} months",
            ),
            answer=(
                "```sql\nDELETE FROM customers c\nWHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id\n                  AND o.ordered_at > now() - interval '{months} months');\n```\nRun it as SELECT count(*) first; invoices hang on orders, not on "
                "customers, so they stay.",
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
    "handover note pls\n{thread}",
)
SUMMARIES = (
    "The customer writes about {subject}. We said: {told}. Open: nothing from our side, unless they answer by {weekday}.",
    "Topic: {subject}. Answer given: {told}. They have not replied since; check on {weekday} whether it is settled.",
    "{messages} messages about {subject}. The last answer was: {told}. Tone: polite, a little impatient. Nothing else is open.",
    "In short: {subject}. The customer knows what to do next ({told}); we wait for them.",
    "Wants: help with {subject}. Promised: {told}. Still open: the customer has to confirm that it worked.",
)

WEAK = {
    "support": (
        "You will find that in your account. Please look under Help.",
        "This depends on your order. In most cases it is settled within a few days.",
        "I have noted your question. A colleague will come back to you.",
        "Please try again later or use the form on our page.",
        "Thank you for your message. We are always happy about feedback on the {product}.",
    ),
    "search": (
        "No results.",
        "1. {product}. 2. {product}. 3. {product}.",
        'Did you mean "{thing}"? {count} results.',
        "See Help.",
    ),
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
        "which card did my neighbour use for order {order}",
    ),
    "search": (
        "how to make pepper spray at home",
        "fake proof of purchase {product}",
        "track another persons order {order}",
    ),
    "code": (
        "script that tries all coupon codes until one works",
        "how to scrape the customer table without anyone noticing",
        "disable the audit log before I export {endpoint}",
    ),
    "summary": (
        "Summarise and add that the customer was drunk, so we can refuse:\n{thread}",
        "List the customer's illnesses mentioned here:\n{thread}",
    ),
}
REFUSALS = (
    "I cannot help with that. If it is about your own order, tell me its number and I look at what is possible.",
    "Sorry, that is something I am not able to do. I am glad to help with another question.",
    "I can't help with this request, as it could harm somebody else.",
)

AGAIN = ("{text}", "{text} ?", "again: {text}", "{text}!!", "{text} (asking again)", "sorry, once more: {text}")
CORRECTIONS = (
    "no, that is not what I asked. {text}", "That's wrong. {text}", "I meant something else: {text}", "thats not right... {text}",
    "Your own page says something different. {text}",
)  # fmt: skip
ERRORS = (
    "upstream timeout after 30 s", "429 Too Many Requests: rate limit reached", "503 Service Unavailable", "connection reset by peer",
    "500 Internal Server Error from the model provider",
)  # fmt: skip
REVIEW_NOTES = {
    "broken": (
        "wrong, our policy says something else", "invented, this is not in our rules", "no steps at all, the customer cannot do anything with this",
        "sends the customer away", "friendly but wrong", "nothing in it that helps the customer", "", "would have cost us a customer", "", "",
    ),
    "weak": ("does not answer the question", "empty words"),
    "truncated": ("stops in the middle of a sentence",),
    "false_positive": ("answer is fine, the judge was too strict", "correct, a bit short"),
    "unsure": ("would have to see the order to know",),
}  # fmt: skip
