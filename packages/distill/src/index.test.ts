import { expect, it } from 'vitest';
import * as distill from './index.ts';

it('exports exactly this', () => {
  expect(Object.keys(distill).sort()).toMatchInlineSnapshot(`
    [
      "attentionMapLoss",
      "attentionScores",
      "buildLoss",
      "compareVocabularies",
      "distill",
      "distillConfig",
      "distillTransform",
      "hiddenLoss",
      "layerPairs",
      "liveTeachers",
      "lossProblems",
      "lossSchema",
      "makeStudent",
      "mixedLogits",
      "mostRelationHeads",
      "mutualDistill",
      "parseLoss",
      "relationLoss",
      "requireSameVocabulary",
      "studentSchema",
      "weightAt",
    ]
  `);
});
