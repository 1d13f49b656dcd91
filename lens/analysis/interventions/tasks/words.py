"""What the tasks are made of: names, frames, countries. Each task keeps those that are single tokens for its model.

At least eight frames and sixteen names of each kind: with fewer, an interval over them says little.
"""

HER = (
    *("Mary", "Anna", "Sarah", "Lisa", "Emma", "Kate", "Laura", "Amy", "Julia", "Alice", "Jane", "Rachel", "Susan"),
    *("Maria", "Helen", "Linda", "Nancy", "Karen", "Rose", "Grace", "Diana", "Sophie", "Claire", "Victoria"),
)
HIM = (
    *("John", "Tom", "James", "David", "Paul", "Mark", "Peter", "Dan", "Mike", "Adam", "George", "Simon", "Kevin"),
    *("Robert", "Michael", "William", "Richard", "Thomas", "Daniel", "Brian", "Steven", "Henry", "Jack", "Alex"),
)

IOI_FRAMES = (
    "After {a} and {b} went to the {place}, {s} gave a {thing} to",
    "When {a} and {b} were at the {place}, {s} handed a {thing} to",
    "While {a} and {b} waited at the {place}, {s} passed a {thing} to",
    "As {a} and {b} walked to the {place}, {s} offered a {thing} to",
    "Once {a} and {b} came to the {place}, {s} brought a {thing} to",
    "Because {a} and {b} worked at the {place}, {s} showed a {thing} to",
    "Before {a} and {b} left for the {place}, {s} sent a {thing} to",
    "Though {a} and {b} argued at the {place}, {s} lent a {thing} to",
    "Although {a} and {b} met at the {place}, {s} sold a {thing} to",
    "Then {a} and {b} drove to the {place}; {s} threw a {thing} to",
    "Later {a} and {b} stood at the {place}; {s} read a {thing} to",
    "Today {a} and {b} are at the {place}; {s} took a {thing} to",
)
PLACES = ("store", "park", "school", "office", "station", "garden", "restaurant", "hospital")
THINGS = ("drink", "book", "ring", "letter", "flower", "computer", "ball", "map")

PRONOUN_FRAMES = (
    "a great friend",
    "an amazing person",
    "a fantastic colleague",
    "a wonderful partner",
    "an excellent student",
    "a good teacher",
    "a famous writer",
    "an old neighbour",
    "a very kind doctor",
    "the best player in the team",
)
PRONOUNS = (" he", " she", " it")

NOUNS = (
    *("war", "project", "voyage", "siege", "reign", "trial", "drought", "journey", "campaign", "dispute"),
    *("famine", "strike", "festival", "treaty", "marriage", "plague", "search", "rule", "peace", "work"),
)

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "England": "London",
    "Ireland": "Dublin",
    "Greece": "Athens",
    "Egypt": "Cairo",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Cuba": "Havana",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Poland": "Warsaw",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Canada": "Ottawa",
    "Belgium": "Brussels",
    "Hungary": "Budapest",
    "Scotland": "Edinburgh",
    "Wales": "Cardiff",
    "Syria": "Damascus",
    "Lebanon": "Beirut",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Chile": "Santiago",
    "Thailand": "Bangkok",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Turkey": "Ankara",
    "Ukraine": "Kiev",
    "Vietnam": "Hanoi",
    "Taiwan": "Taipei",
    "Australia": "Canberra",
    "Indonesia": "Jakarta",
    "Libya": "Tripoli",
    "Colombia": "Bogota",
}
CAPITAL_FRAMES = (
    "The capital of {} is the city of",
    "The capital city of {} is called",
    "People who visit the capital of {} travel to",
    "The government of {} has its seat in",
    "The parliament of {} meets in",
    "She was born in the capital of {}, the city of",
    "If you fly to the capital of {}, you land in",
    "Question: What is the capital of {}? Answer:",
    "The name of the capital of {} is",
    "On the map of {}, a star marks the capital,",
)
