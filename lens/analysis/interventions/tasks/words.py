"""What the tasks are made of: names, frames, countries. Each task keeps those that are single tokens for its model."""

HER = ("Mary", "Anna", "Sarah", "Lisa", "Emma", "Kate", "Laura", "Amy", "Julia", "Alice", "Jane", "Rachel", "Susan")
HIM = ("John", "Tom", "James", "David", "Paul", "Mark", "Peter", "Dan", "Mike", "Adam", "George", "Simon", "Kevin")

IOI_FRAMES = (
    "After {a} and {b} went to the {place}, {s} gave a {thing} to",
    "When {a} and {b} were at the {place}, {s} handed a {thing} to",
    "Then {a} and {b} walked to the {place}, and {s} passed a {thing} to",
    "While {a} and {b} were leaving the {place}, {s} offered a {thing} to",
)
PLACES = ("store", "park", "school", "office", "station", "garden", "restaurant", "hospital")
THINGS = ("drink", "book", "ring", "letter", "flower", "computer", "ball", "map")

PRONOUN_FRAMES = (
    "a great friend",
    "an amazing person",
    "a fantastic colleague",
    "a wonderful partner",
    "an excellent student",
)
PRONOUN_NAMES = (("Mary", " she"), ("John", " he"), ("Tom", " he"), ("Dan", " he"), ("Amy", " she"))
PRONOUNS = (" he", " she", " it")

NOUNS = ("war", "project", "voyage", "siege", "reign", "trial", "drought", "journey", "campaign", "dispute")

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
}
CAPITAL_FRAMES = (
    "The capital of {} is the city of",
    "The capital city of {} is called",
    "People who visit the capital of {} travel to",
    "The government of {} has its seat in",
)
