// How an artefact is loaded, by its format: what a reader of a model card types first.

/** What a model card says of a format. */
export interface LoadingGuide {
  /** `library_name` of the card, by which a hub shows its snippets. */
  readonly library: string;
  /** Tags of the card. */
  readonly tags: readonly string[];
  /** Commands and programs, in Markdown. */
  readonly text: string;
}

const vllm = (id: string): string => `With vLLM:\n\n\`\`\`sh\nvllm serve ${id}\n\`\`\`\n`;

const transformers = (id: string, needs: string): string => `With transformers${needs}:

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("${id}")
tokenizer = AutoTokenizer.from_pretrained("${id}")
\`\`\`
`;

/** @param file name of the file to open, of a format whose artefact is a file. */
export function howToLoad(format: string, id: string, file: string | undefined): LoadingGuide {
  const pith = `With Pith:\n\n\`\`\`sh\npith generate ${id} --prompt "..."\n\`\`\`\n`;
  const [name] = format.split(':');
  switch (name) {
    case 'gguf':
      return {
        library: 'gguf',
        tags: ['gguf', 'llama.cpp'],
        text: `With llama.cpp:\n\n\`\`\`sh\nllama-server --hf-repo ${id}${file === undefined ? '' : ` --hf-file ${file}`}\n\`\`\`\n`,
      };
    case 'onnx':
      return {
        library: 'transformers.js',
        tags: ['onnx', 'transformers.js'],
        text: `With transformers.js:\n\n\`\`\`js\nimport { pipeline } from '@huggingface/transformers';\n\nconst generate = await pipeline('text-generation', '${id}');\n\`\`\`\n`,
      };
    case 'mlx':
      return {
        library: 'mlx',
        tags: ['mlx'],
        text: `With MLX:\n\n\`\`\`sh\nmlx_lm.generate --model ${id} --prompt "..."\n\`\`\`\n`,
      };
    case 'gptq':
    case 'awq':
      return {
        library: 'transformers',
        tags: [name],
        text: `${vllm(id)}\n${transformers(id, name === 'gptq' ? ' and gptqmodel' : ' and a reader of AWQ')}`,
      };
    case 'compressed-tensors':
      return {
        library: 'transformers',
        tags: ['compressed-tensors'],
        text: `${vllm(id)}\n${transformers(id, ' and compressed-tensors')}\n${pith}`,
      };
    default:
      return { library: 'transformers', tags: [], text: `${vllm(id)}\n${transformers(id, '')}\n${pith}` };
  }
}
