// Small narratives: a hero with a name, a wish or a trouble, a helper, an end that follows from it.
import type { Productions } from './expand.ts';

/** Productions of the stories; `story` is the start. */
export const stories: Productions = {
  story: [
    '{lostThing}',
    '{lostThing}',
    '{newPet}',
    '{sharing}',
    '{rainyDay}',
    '{baking}',
    '{animalHelp}',
    '{animalHelp}',
    '{market}',
    '{lesson}',
    '{forestWalk}',
    '{builders}',
    '{sickFriend}',
    '{bedtime}',
    '{workDay}',
    '{race}',
    '{gift}',
  ],

  // Something is lost and found again.
  lostThing: [
    '{heroWithToy} {lossOfToy} {askElder} {searchForToy} {endOfSearch}',
    '{heroWithToy} {lossOfToy} {followAnimal} {searchForToy} {endOfSearch}',
  ],
  heroWithToy: [
    '{Time:time}, there was a {nature} {hero:person.child} named {hero}. {Hero.he} had a {size} {shade:color} {toy:toy} that {hero.he} loved very much.',
    '{Hero:person} was a {nature} {hero.child} who lived near a {place:outdoors}. {Hero.he} had a {shade:color} {toy:toy}. It was {hero.his} favorite toy.',
    '{Hero:person} had a {shade:color} {toy:toy} and {number} small {other:toy.pl}. Of all {hero.his} toys, {hero.he} liked the {toy} best.',
    'Once there was a {hero:person.child} named {hero}. {Hero.his} {elder:elder} had given {hero.him} a {shade:color} {toy:toy}.',
  ],
  lossOfToy: [
    'One {weather} morning, {hero} could not find the {toy}. {Hero.he} was very {bad}.',
    '{Time}, {hero} looked for the {toy}, but it was not there. "Where is my {toy}?" {hero.he} asked.',
    'But on {weekday} the {toy} was gone. {Hero.he} looked everywhere, but {hero.he} did not see it.',
    'On a {weather} day {hero} took the {toy} to the {spot:outdoors}. When {hero.he} came home, the {toy} was not in {hero.his} bag.',
  ],
  askElder: [
    '{Hero.he} asked {hero.his} {helper:elder}, "Have you seen my {shade} {toy}?" "No, I have not," said {hero.his} {helper}, "but I will help you."',
    '{Hero.his} {helper:elder} saw that {hero} was sad. "Do not cry," {helper.he} said. "We will find it together."',
    '{Hero} told {hero.his} {helper:sibling} about it. The {helper}, who was very {nature}, wanted to help.',
    '"What is wrong?" asked {hero.his} friend {helper:person}. "I have lost my {toy}," said {hero}. "Let us look for it," said {helper}.',
  ],
  followAnimal: [
    '{Hero.he} met a {size} {helper:animal}. "Have you seen my {toy}?" asked {hero}. The {helper} {helper.voiced} and {helper.moved} away, and {hero} followed it.',
    'A {furColor} {helper:animal} that lived nearby heard {hero.him}. "I know where it is," said the {helper}. "Come with me."',
  ],
  searchForToy: [
    'They looked {hideout}. They looked {hideout}. It was not there.',
    'First they looked {hideout}, but they only found a {condition} {thing}. Then they looked {hideout}.',
    'They {go.past} to the {outdoors} and looked {hideout}, but they did not find anything.',
    'They looked in the house and in the garden. {Later}, they heard a sound.',
  ],
  endOfSearch: [
    'At last, {hero} looked {hideout}. There was the {toy}! {Hero} was so {good} that {hero.he} danced.',
    'Then the {helper} looked {hideout}, and there it was. "Thank you!" said {hero}. {Hero.he} never lost the {toy} again.',
    '{Later}, they found the {shade} {toy} {hideout}. "I am so happy," said {hero}, and {hero.he} hugged {hero.his} {toy}.',
    'The {toy} was {hideout}. A {animal} had taken it there and was sleeping on it. They all laughed.',
  ],

  // A child and an animal become friends.
  newPet: ['{meetPet} {feedPet} {namePet}'],
  meetPet: [
    '{Time}, {hero:person} was walking {outdoors.at} when {hero.he} saw a {size} {pet:pet}. It was {furColor} and looked {bad}.',
    '{Hero:person} wanted a pet. On {weekday}, {hero.his} {elder:elder} came home with a {size} {pet:pet} in a basket.',
    'A {furColor} {pet:pet} sat in front of the house where {hero:person} lived. It was cold and hungry.',
    '{Hero:person} found a {pet:pet} that had lost its way. "Do not be afraid," {hero} said {manner}.',
  ],
  feedPet: [
    '{Hero} gave the {pet} some {pet.food}. The {pet} ate it all and {pet.voiced}.',
    'The {pet} was hungry, so {hero} brought it {pet.food} and water. It ate {manner}.',
    '"What do {pet.pl} eat?" asked {hero}. "They eat {pet.food}," said {hero.his} {parent:elder}. So {hero} gave it some {pet.food}.',
  ],
  namePet: [
    '{Hero} named the {pet} {petName:person}. Every day they played together, and at night {petName} slept near {hero.his} bed.',
    'From that day on, the {pet} {pet.moved} behind {hero} wherever {hero.he} went. They were best friends.',
    '"May I keep it?" asked {hero}. "Yes, you may," said {hero.his} {keeper:elder}, "if you take care of it." {Hero} was very {good}.',
    '{Later}, a {nature} {owner:job} came and said, "That is my {pet}!" {Hero} was sad, but the {owner} said, "You can visit it every day."',
  ],

  // Two children want the same thing.
  sharing: ['{quarrel} {advice} {peace}'],
  quarrel: [
    '{Hero:person} and {friend:person} were playing {outdoors.at}. They both wanted the {shade:color} {toy:toy}. "It is mine!" said {hero}. "No, it is mine!" said {friend}.',
    '{Hero:person} had a new {toy:toy}. {Friend:person} wanted to play with it too, but {hero} did not want to share.',
    '{Time}, {hero:person} saw that {friend:person} had a {shade:color} {toy:toy}. {Hero.he} took it and ran away. {Friend} began to cry.',
  ],
  advice: [
    '{Hero.his} {elder:elder} heard them. "If you share the {toy}, you can both play," {elder.he} said.',
    'A {nature} {elder:job} who was walking by said, "Friends share their things."',
    '"How would you feel without your {toy}?" asked {hero.his} {elder:elder}. {Hero} thought about it.',
  ],
  peace: [
    '{Hero} was sorry and gave the {toy} to {friend}. "You can play first," {hero.he} said. They played until the evening.',
    '"I am sorry," said {hero}. "Let us play together." {Friend} smiled, and they were friends again.',
    'So they played with the {toy} together, and it was more fun than playing alone.',
  ],

  // Weather changes a plan.
  rainyDay: [
    '{Hero:person} wanted to {plan:play} {plan.how}, but it was {weather} outside. {Hero.he} was {bad}. "We can {other:play} {other.how}," said {hero.his} {elder:elder}. So they {other.past} {other.how}, and {hero} forgot the bad weather.',
    'It was raining on {weekday}. {Hero:person} and {hero.his} {sibling:sibling} could not go to the {outdoors}. They sat near the window and drank {drink}. Then they {play:play.past} {play.how}. {Later}, the sun came out, and they ran outside.',
    'It had snowed all night. In the morning, {hero:person} put on {hero.his} {color} {coat:thing} and {go.past} to the {outdoors}. {Friend:person} was already there. They built a man of snow and gave him a {condition} hat. When they came home, {hero.his} {elder:elder} gave them warm {drink}.',
  ],

  // Something is cooked.
  baking: [
    '{Hero:person} and {hero.his} {elder:elder} wanted to make {dish:dish}. They needed {number} {fruit:fruit.pl} and some {drink}, but there were no {fruit.pl} in the kitchen. {Hero} {go.past} to the market and bought them. {Later}, the {dish} was ready. "It tastes very good," said {hero.his} {sibling:sibling}.',
    'It was the birthday of {friend:person}. {Hero:person} baked a cake with {fruit:fruit.pl} for {friend.him}. But the cake was too {bakeFault}! {Hero} was {bad}. "It does not matter," said {friend}. "You made it for me, and that makes me {good}."',
    '{Time}, {hero:person} was very hungry. {Hero.he} ate {number} {fruit:fruit.pl}, a piece of {dish:dish} and some {other:dish}. "Now my stomach hurts," {hero.he} said. {Hero.his} {elder:elder} gave {hero.him} some tea. {Later}, {hero.he} felt better.',
  ],
  bakeFault: ['hard', 'soft', 'dry', 'small', 'salty'],

  // Animals help one another.
  animalHelp: [
    '{inHole} {animalAnswer} {outOfHole}',
    '{lostWay} {animalAnswer} {wayHome}',
    '{lonely} {animalAnswer} {friends}',
    '{hungry} {animalAnswer} {fed}',
    '{atRiver} {animalAnswer} {acrossRiver}',
  ],
  inHole: [
    'A {size} {hero:forester} lived in the forest. {Time}, it fell into a hole and could not get out. "Help me!" it {cry}.',
    '{Time}, a {nature} {hero:forester} was looking for {hero.food} and fell into a deep hole. "Who can help me?" it {cry}.',
  ],
  outOfHole: [
    'The {friend} brought a long rope and pulled. {Later}, the {hero} was free. "Thank you, my friend," it said.',
    'The {friend} threw a long branch into the hole, and the {hero} held it. {Later}, it was out of the hole and very {good}.',
  ],
  lostWay: [
    'Once a {nature} {hero:forester} lost its way in the forest. It was dark, and the {hero} was afraid.',
    'A {young:size} {hero:forester} had walked too far. It did not know where its mother was, and it began to cry.',
  ],
  wayHome: [
    'Together they {go.past} through the forest. {Later}, the {hero} saw its house. "If you need help," it said, "call me, and I will come."',
    'The {friend} knew the way. The {hero} was so {good} that it gave the {friend} some {friend.food}.',
  ],
  lonely: [
    'There was a {hero:forester} that had no friends. All the other animals played together, but the {hero} sat alone {hideout}.',
    'A {furColor} {hero:forester} was new in the forest. Nobody knew it, and nobody played with it.',
  ],
  friends: [
    'They played {outdoors.at} until it was dark. From that day on, they were friends.',
    '"Come and play with us," said the {friend}. The {hero} was {good}, and it was never alone again.',
  ],
  hungry: [
    'In a hard winter, a {furColor} {hero:forester} had no food. "I am so hungry," said the {hero}.',
    'A {nature} {hero:forester} looked for {hero.food}, but it did not find any. It was hungry and {bad}.',
  ],
  fed: [
    'The {friend} brought {hero.food} for the {hero}. They ate together, and the {hero} never forgot it.',
    '"There is some {hero.food} {hideout}," said the {friend}. The {hero} {go.past} there and ate until it was not hungry any more.',
  ],
  atRiver: [
    'A {nature} {hero:forester} wanted to cross the river, but the water was too cold and too fast.',
    '{Time}, a {size} {hero:forester} stood by the river. Its friends were on the other side, and it could not swim.',
  ],
  acrossRiver: [
    'They put a long tree over the water. The {hero} walked over it {manner}, and its friends were {good}.',
    'The {friend} showed the {hero} a {condition} boat. {Later}, they were on the other side.',
  ],
  cry: ['cried', 'shouted', 'called'],
  animalAnswer: [
    'A {kindness:nature} {friend:animal} came by and saw the {hero}. "I will help you," said the {friend}.',
    'Then a {size} {friend:animal} came by. "Why are you so sad?" it asked. The {hero} told the {friend} everything.',
    '{Number} {friend:animal.pl} came by. The first did not stop, but the last was {nature} and wanted to help.',
  ],

  // Buying and selling.
  market: [
    '{Hero:person} went to the market with {hero.his} {elder:elder}. They bought {number} {fruit:fruit.pl}, some {dish} and a {condition} {thing:thing}. "How much is the {thing}?" asked {hero}. "It costs {number} coins," said the {grown} who sold it. {Hero} paid and carried the {thing} home {manner}.',
    'A {job:job} named {hero:person} wanted to sell a {condition} {thing:thing}. Nobody wanted it. {Later}, a {nature} {friend:person.child} came and looked at the {thing}. "It is {color}," said the {friend.child}. "I like it." {Hero} gave it to {friend.him} for one coin.',
    'On {weekday}, {hero:person} lost {number} coins on the way to the market. A {nature} {friend:person.child} who had found them ran after {hero.him}. "Are these your coins?" {friend.he} asked. "Yes, they are," said {hero}. "You are very honest." {Hero} gave {friend.him} a {fruit}.',
  ],
  grown: ['woman', 'man'],

  // Learning something.
  lesson: [
    '{Hero:person} could not {skill:play}. "I will never learn it," {hero.he} said. "You must try every day," said {hero.his} {elder:elder}. So {hero} tried on {weekday}, and {hero.he} tried again on {weekday}. {Later}, {hero.he} could {skill} very well, and everyone was proud of {hero.him}.',
    '{Hero:person} wanted to {skill:play} {skill.how}, but {hero.he} was afraid. {Friend:person}, who had {skill.part} {skill.how} many times, said, "I will show you." They {skill.past} {skill.how} together. Now {hero} is not afraid any more.',
    '{Hero:person} was a lazy {hero.child}. While {friend:person} worked in the garden, {hero} slept {hideout}. In {season}, {friend} had many {fruit:fruit.pl}, but {hero} had none. "Next year I will work too," said {hero}.',
    '{Hero:person} broke a {condition} {thing:thing} that belonged to {hero.his} {elder:elder}. {Hero.he} was afraid, but {hero.he} told {elder.him} what had happened. "I am glad that you were honest," said {hero.his} {elder}.',
  ],

  // A walk with small encounters.
  forestWalk: ['{walkStart} {walkSight} {walkSight} {walkEnd}', '{walkStart} {walkSight} {walkEnd}'],
  walkStart: [
    '{Time}, {hero:person} and {hero.his} {friend:elder} went for a walk in the {outdoors}. The day was {weather}.',
    '{Hero:person} and {friend:person} {go.past} to the {outdoors} on a {weather} day.',
    'On {weekday}, the children went to the {outdoors}. {Hero:person} and {friend:person} walked in front of the others.',
  ],
  walkSight: [
    'They saw {number} {furColor} {animal.pl} near the path.',
    '{Hero} saw a {first:animal} that {first.moved} very {manner}. "Look!" {hero.he} said. "It is looking for {first.food}."',
    'A {size} {second:animal} {second.voiced}, and {hero} {second.voiced} back. They both laughed.',
    '{Hero} found a {color} stone and put it in {hero.his} bag.',
    'They sat under a {size} tree and ate {dish} and {number} {fruit.pl}.',
  ],
  walkEnd: [
    '{Later}, they were tired and went home.',
    'When it got dark, they {go.past} home and drank {drink}.',
    '"That was a good day," said {hero}. "Yes," said {hero.his} friend, "we should come back soon."',
    'At home, {hero} drew a picture of everything that {hero.he} had seen.',
  ],

  // Making something together.
  builders: [
    '{Hero:person} and {friend:person} wanted to build a house in a tree. {Hero} brought a {first:tool}, and {friend} brought a {second:tool}. They worked for {number} days. When the house was ready, they painted it {shade:color}. Now they sit there every {weekday} and tell stories.',
    '{Hero:person} needed a {need:tool}. "You can make one of {need.material}," said {hero.his} {elder:elder}. {Hero} worked {manner}. {Later}, the {need} was ready, and {hero} was very proud of it.',
    'A {nature} {worker:job} lived in a {size} house. The roof was broken, and rain came in. All the people who lived nearby came and helped. A {first:job} brought wood, and a {second:job} brought a {tool}. In {number} days the house had a new roof. "Thank you all," said the {worker}.',
  ],

  // A visit.
  sickFriend: [
    '{Hero:person} was sick and had to stay in bed. {Friend:person}, who was {hero.his} best friend, came to visit {hero.him}. {Friend.he} brought {number} {fruit.pl} and a {thing}. They talked and laughed. The next day, {hero} felt much better.',
    'The {elder:elder} of {hero:person} was sick. {Hero} made some {drink} for {elder.him} and read {elder.him} a story. "You are a good {hero.child}," said {hero.his} {elder}. In {number} days {elder.he} was well again.',
  ],

  // The end of a day.
  bedtime: [
    'It was late, but {hero:person} did not want to sleep. "Tell me a story," {hero.he} said. So {hero.his} {elder:elder} told {hero.him} about a {nature} {animal:animal} that lived {animal.home}. Before the story was over, {hero} had fallen asleep.',
    '{Hero:person} heard a strange sound at night. {Hero.he} was afraid and called {hero.his} {elder:elder}. They looked {hideout} and found a {size} {animal:animal}. It only wanted some {animal.food}. "Good night, little {animal}," said {hero}, and {hero.he} slept well.',
    'In the evening, {hero:person} counted the stars. {Hero.he} counted {number} stars, then {hero.his} eyes closed. {Hero.he} dreamed of a {furColor} {animal:animal} that could talk. "Come with me," said the {animal}, and they flew over the {place}.',
  ],

  // A day of work.
  workDay: [
    '{Hero:person} is a {work:job}. Every day {hero.he} goes to the {work.place} and {work.acts}. {Hero.he} has a {condition} {work.tool} that {hero.he} needs for {hero.his} work. On {weekday}, {friend:person} came and said, "I want to learn how to {work.act}." {Hero} was {good} and showed {friend.him} everything.',
    'When {hero:person} was a {hero.child}, {hero.he} wanted to be a {work:job}. {Hero.his} {elder:elder} had been a {work} too and had {work.done} all {elder.his} life. Today {hero} works at the {work.place}, and {hero.he} still loves it.',
  ],

  // A contest.
  race: [
    'A {first:animal} and a {second:animal} wanted to know who was faster. "I am faster than you," said the {first}. "We will see," said the {second}. They ran from the {start:outdoors} to the {end:outdoors}. The {first} stopped because it saw some {first.food}, and so the {second} won. "Next time I will not stop to eat," said the {first}.',
    '{Hero:person} and {friend:person} ran to the {outdoors}. {Hero} was faster, but {friend} fell and hurt {friend.his} knee. {Hero} stopped and helped {friend.him}. Nobody won the race, but both of them were {good}.',
  ],

  // A present.
  gift: [
    'Tomorrow was the birthday of {hero:person}. {Friend:person} wanted to give {hero.him} something pretty. {Friend.he} had no money, so {friend.he} made a {shade:color} {thing:thing}. When {hero} opened the box, {hero.he} smiled. "It is the best {thing} that I have ever had," {hero.he} said.',
    '{Hero:person} got a {size} box from {hero.his} {elder:elder}. "What is in it?" asked {hero}. "Open it and see," said {elder.he}. In the box was a {condition} {toy:toy}. {Hero} hugged {hero.his} {elder} and played with the {toy} all day.',
  ],
};
